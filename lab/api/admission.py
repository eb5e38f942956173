"""What a cluster's admission plugins do: rules about a write that need other objects, or the writer.

NamespaceLifecycle, ServiceAccount, Priority, DefaultTolerationSeconds; the checks of RBAC against escalation;
protection of what the API itself keeps.
"""

from __future__ import annotations

from apiserver import errors
from apiserver.documents.kind import Kind
from apiserver.documents.operation import Operation, generate_name
from apiserver.documents.registry import Registry
from apiserver.errors import StatusError
from apiserver.resources import Object
from lab.api.access.rbac import MASTERS, Ask, Rbac, Who, covers

_PROTECTED = ("default", "kube-system", "kube-public")
_TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
_IN_NAMESPACE_ANYWAY = ("localsubjectaccessreviews.authorization.k8s.io",)

# Written into every pod, and shared by all: stored documents are never changed in place.
_TOKEN_SOURCES = [
    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    {
        "downwardAPI": {
            "items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
            ]
        }
    },
]
_TOLERATIONS = [
    {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
]


class Admission:
    def __init__(self, registry: Registry, rbac: Rbac) -> None:
        self._registry = registry
        self._rbac = rbac
        registry.admit(self.admit)

    def admit(self, kind: Kind, operation: Operation) -> None:
        if operation.verb == "create":
            if kind.namespaced and kind.resource not in _IN_NAMESPACE_ANYWAY:
                self._check_namespace(kind, operation)
            if kind.resource == "pods":
                self._complete_pod(kind, operation)
        elif operation.verb == "delete" and kind.resource == "namespaces" and operation.name in _PROTECTED:
            raise errors.forbidden("namespaces", "", operation.name, "this namespace may not be deleted")
        elif operation.verb == "update" and kind.resource == _DEFINITIONS:
            self._check_storage_version(operation)
        if (
            operation.verb in ("create", "update")
            and operation.user
            and kind.group == "rbac.authorization.k8s.io"
        ):
            self._check_escalation(kind, operation)

    def _check_storage_version(self, operation: Operation) -> None:
        """Objects are kept in one form, the storage version's: where a webhook converts, it has to stay."""
        assert operation.new is not None
        assert operation.old is not None
        old, new = operation.old["spec"], operation.new["spec"]
        asked = any(spec.get("conversion", {}).get("strategy") == "Webhook" for spec in (old, new))
        if asked and _storage(old) != _storage(new) and any(self._registry.items(operation.name)):
            why = (
                "the lab's API keeps all objects in the storage version and does not convert them later: "
                "delete the objects before another version becomes the storage version"
            )
            raise errors.forbidden("customresourcedefinitions", "apiextensions.k8s.io", operation.name, why)

    def _check_namespace(self, kind: Kind, operation: Operation) -> None:
        name = operation.namespace
        namespace = self._registry.get("namespaces", "", name)
        if namespace is None:
            details = {"name": name, "kind": "namespaces"}
            raise StatusError(404, "NotFound", f'namespaces "{name}" not found', details)
        if namespace["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {name} because it is being terminated"
            error = errors.forbidden(kind.plural, kind.group, operation.name, why)
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {name} is being terminated",
                "field": "metadata.namespace",
            }
            error.details = {**(error.details or {}), "causes": [cause]}
            raise error

    def _complete_pod(self, kind: Kind, operation: Operation) -> None:
        pod = operation.new
        assert pod is not None
        spec = pod.get("spec", {})
        spec.setdefault("priority", 0)
        spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
        tolerations = spec.setdefault("tolerations", [])
        for wanted in _TOLERATIONS:
            if not any(
                t.get("effect") in (None, "", "NoExecute") and t.get("key") in (None, "", wanted["key"])
                for t in tolerations
            ):
                tolerations.append(wanted)
        account_name = spec.get("serviceAccountName") or "default"
        spec["serviceAccountName"] = spec["serviceAccount"] = account_name
        account = self._registry.get("serviceaccounts", operation.namespace, account_name)
        if account is None:
            why = (
                f"error looking up service account {operation.namespace}/{account_name}: "
                f'serviceaccount "{account_name}" not found'
            )
            raise errors.forbidden("pods", "", operation.name, why)
        mounts = spec.get("automountServiceAccountToken", account.get("automountServiceAccountToken", True))
        if mounts:
            _mount_token(spec)

    def _check_escalation(self, kind: Kind, operation: Operation) -> None:
        """Nobody grants what they do not have, unless they may escalate or bind."""
        who = Who(operation.user, operation.groups)
        if MASTERS in who.groups or operation.new is None:
            return
        namespace = operation.namespace if kind.namespaced else ""
        if kind.plural in ("roles", "clusterroles"):
            ask = Ask("escalate", kind.group, kind.plural, "", namespace, operation.name)
            wanted = operation.new.get("rules") or []
            if operation.old is not None and operation.old.get("rules") == operation.new.get("rules"):
                return
        else:
            reference = operation.new.get("roleRef", {})
            plural = "roles" if reference.get("kind") == "Role" else "clusterroles"
            ask = Ask("bind", kind.group, plural, "", namespace, reference.get("name", ""))
            resource = f"{plural}.{kind.group}"
            role = self._registry.get(
                resource, namespace if plural == "roles" else "", reference.get("name", "")
            )
            if role is None:
                if self._rbac.allowed(who, ask) is None:
                    raise _role_not_found(plural, kind.group, reference.get("name", ""))
                return
            wanted = role.get("rules") or []
        if self._rbac.allowed(who, ask) is not None:
            return
        owned = [rule for rule, _ in self._rbac.rules(who, namespace)]
        missing = [rule for rule in wanted if not covers(owned, rule)]
        if missing:
            lines = "\n".join(_rule_text(rule) for rule in missing)
            groups = " ".join(f'"{group}"' for group in who.groups)
            subject = f'user "{who.name}" (groups=[{groups}])'
            why = f"{subject} is attempting to grant RBAC permissions not currently held:\n{lines}"
            raise errors.forbidden(kind.plural, kind.group, operation.name, why)


def _storage(spec: Object) -> str:
    return next((str(v.get("name")) for v in spec.get("versions", ()) if v.get("storage")), "")


def _rule_text(rule: Object) -> str:
    parts = []
    for label, key in (
        ("APIGroups", "apiGroups"),
        ("Resources", "resources"),
        ("NonResourceURLs", "nonResourceURLs"),
        ("ResourceNames", "resourceNames"),
        ("Verbs", "verbs"),
    ):
        if rule.get(key):
            parts.append(f"{label}:[{' '.join(chr(34) + item + chr(34) for item in rule[key])}]")
    return "{" + ", ".join(parts) + "}"


def _mount_token(spec: Object) -> None:
    containers = spec.get("containers", []) + spec.get("initContainers", [])
    unmounted = [
        c for c in containers if not any(m.get("mountPath") == _TOKEN_PATH for m in c.get("volumeMounts", ()))
    ]
    if not unmounted:
        return
    name = generate_name("kube-api-access-")
    for container in unmounted:
        container.setdefault("volumeMounts", []).append(
            {"name": name, "readOnly": True, "mountPath": _TOKEN_PATH}
        )
    spec.setdefault("volumes", []).append(
        {"name": name, "projected": {"sources": _TOKEN_SOURCES, "defaultMode": 420}}
    )


def _role_not_found(plural: str, group: str, name: str) -> StatusError:
    details = {"name": name, "group": group, "kind": plural}
    return StatusError(404, "NotFound", f'{plural}.{group} "{name}" not found', details)
