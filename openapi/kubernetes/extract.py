"""Writes fields.json: the protobuf fields of Kubernetes' built-in kinds, read from the Go types of
k8s.io/api.

    python -m openapi.kubernetes.extract           needs Go, which downloads the module k8s.io/api

What the .proto files do not say and the Go types do is which fields are pointers: a zero in a field that is
no pointer is not there in JSON, in a pointer it is. The result is committed; this is run again only when
Kubernetes has new fields. Per message a list of ``[number, JSON name, type, options?]``; a type is a scalar
(string, int, bool, double, bytes, quantity, time, micro, intstr, duration, fields, raw), the name of a
message, ``[]`` or ``{}`` of one of these, ``*`` for a pointer, ``<`` for a message whose fields stand in the
object that holds it. Options say whether the field is required and how a strategic merge patch treats it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

MODULE = "k8s.io/api@v0.34.4"
PACKAGES = {
    "core/v1": "",
    "networking/v1": "networking.k8s.io",
    "rbac/v1": "rbac.authorization.k8s.io",
    "authorization/v1": "authorization.k8s.io",
    "authentication/v1": "authentication.k8s.io",
    "coordination/v1": "coordination.k8s.io",
    "discovery/v1": "discovery.k8s.io",
    "events/v1": "events.k8s.io",
    "policy/v1": "policy",
}
KINDS = {
    "core/v1": [
        "Binding",
        "ConfigMap",
        "Endpoints",
        "Event",
        "Namespace",
        "Node",
        "Pod",
        "Secret",
        "Service",
        "ServiceAccount",
    ],
    "networking/v1": ["NetworkPolicy"],
    "rbac/v1": ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"],
    "authorization/v1": [
        "SubjectAccessReview",
        "SelfSubjectAccessReview",
        "LocalSubjectAccessReview",
        "SelfSubjectRulesReview",
    ],
    "authentication/v1": ["TokenReview", "TokenRequest", "SelfSubjectReview"],
    "coordination/v1": ["Lease"],
    "discovery/v1": ["EndpointSlice"],
    "events/v1": ["Event"],
    "policy/v1": ["Eviction", "PodDisruptionBudget"],
}
SPECIAL = {
    "metav1.Time": "time",
    "metav1.MicroTime": "micro",
    "metav1.Duration": "duration",
    "intstr.IntOrString": "intstr",
    "resource.Quantity": "quantity",
    "runtime.RawExtension": "raw",
    "metav1.FieldsV1": "fields",
    "[]byte": "bytes",
    "string": "string",
    "int32": "int",
    "int64": "int",
    "bool": "bool",
    "float64": "double",
    "types.UID": "string",
    "metav1.ConditionStatus": "string",
    "metav1.StatusReason": "string",
    "v1.UniqueVolumeName": "string",
}
# The messages of meta/v1 that the kinds above hold; their Go types live in another repository.
META = {
    "meta.OwnerReference": [
        [1, "kind", "string"],
        [3, "name", "string"],
        [4, "uid", "string"],
        [5, "apiVersion", "string"],
        [6, "controller", "*bool"],
        [7, "blockOwnerDeletion", "*bool"],
    ],
    "meta.ManagedFieldsEntry": [
        [1, "manager", "string"],
        [2, "operation", "string"],
        [3, "apiVersion", "string"],
        [4, "time", "*time"],
        [6, "fieldsType", "string"],
        [7, "fieldsV1", "fields"],
        [8, "subresource", "string"],
    ],
    "meta.ObjectMeta": [
        [1, "name", "string"],
        [2, "generateName", "string"],
        [3, "namespace", "string"],
        [5, "uid", "string"],
        [6, "resourceVersion", "string"],
        [7, "generation", "int"],
        [8, "creationTimestamp", "time"],
        [9, "deletionTimestamp", "*time"],
        [10, "deletionGracePeriodSeconds", "*int"],
        [11, "labels", "{}string"],
        [12, "annotations", "{}string"],
        [13, "ownerReferences", "[]meta.OwnerReference", "strategy=merge key=uid"],
        [14, "finalizers", "[]string", "strategy=merge key="],
        [17, "managedFields", "[]meta.ManagedFieldsEntry"],
    ],
    "meta.LabelSelectorRequirement": [
        [1, "key", "string"],
        [2, "operator", "string"],
        [3, "values", "[]string"],
    ],
    "meta.LabelSelector": [
        [1, "matchLabels", "{}string"],
        [2, "matchExpressions", "[]meta.LabelSelectorRequirement"],
    ],
    "meta.FieldSelectorRequirement": [
        [1, "key", "string"],
        [2, "operator", "string"],
        [3, "values", "[]string"],
    ],
    "meta.Condition": [
        [1, "type", "string"],
        [2, "status", "string"],
        [3, "observedGeneration", "int"],
        [4, "lastTransitionTime", "time"],
        [5, "reason", "string"],
        [6, "message", "string"],
    ],
    "meta.Preconditions": [[1, "uid", "*string"], [2, "resourceVersion", "*string"]],
    "meta.DeleteOptions": [
        [1, "gracePeriodSeconds", "*int"],
        [2, "preconditions", "*meta.Preconditions"],
        [3, "orphanDependents", "*bool"],
        [4, "propagationPolicy", "*string"],
        [5, "dryRun", "[]string"],
    ],
}

_STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_ALIAS = re.compile(r"^type (\w+) ([\w.\[\]]+)$", re.MULTILINE)
_FIELD = re.compile(r"^\s*(?:\w+\s+)?(\S+)\s+`([^`]*protobuf:[^`]*)`", re.MULTILINE)
_TAG = re.compile(r'(\w+):"([^"]*)"')


def download() -> Path:
    """The module's folder in Go's cache. Raises CalledProcessError where Go cannot get it."""
    command = ["go", "mod", "download", "-json", MODULE]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd="/").stdout)
    return Path(found["Dir"])


def read_package(module: Path, package: str) -> tuple[dict[str, str], dict[str, str]]:
    """The structs and the named types of a package, as text."""
    source = (module / package / "types.go").read_text()
    return dict(_STRUCT.findall(source)), dict(_ALIAS.findall(source))


class Extractor:
    def __init__(self, module: Path) -> None:
        self._packages = {package: read_package(module, package) for package in PACKAGES}
        self.messages: dict[str, list[list[object]]] = dict(META)

    def add(self, package: str, name: str) -> str:
        """The message with all that it refers to; returns its name in the table."""
        key = f"{package}.{name}"
        if key in self.messages:
            return key
        rows: list[list[object]] = []
        self.messages[key] = rows
        for go_type, tag_text in _FIELD.findall(self._packages[package][0][name]):
            tags = dict(_TAG.findall(tag_text))
            json_name, _, flags = tags["json"].partition(",")
            number = int(tags["protobuf"].split(",")[1])
            kind = self._type(package, go_type)
            options = []
            if json_name and "omitempty" not in flags and not kind.startswith("*"):
                options.append("required")
            if "patchStrategy" in tags:
                options += [f"strategy={tags['patchStrategy']}", f"key={tags.get('patchMergeKey', '')}"]
            row: list[object] = [number, json_name, kind if json_name else "<" + kind]
            rows.append([*row, " ".join(options)] if options else row)
        rows.sort(key=lambda row: int(str(row[0])))
        return key

    def _type(self, package: str, go_type: str) -> str:
        if go_type in SPECIAL:
            return SPECIAL[go_type]
        if go_type.startswith("*"):
            return "*" + self._type(package, go_type[1:])
        if go_type.startswith("[]"):
            return "[]" + self._type(package, go_type[2:])
        if go_type.startswith("map["):
            return "{}" + self._type(package, go_type.split("]", 1)[1])
        if go_type.startswith("metav1."):
            name = go_type.replace("metav1.", "meta.")
            return name if name in META else "string"
        if go_type.startswith(("v1.", "corev1.")):
            return self._type("core/v1", go_type.split(".", 1)[1])
        structs, aliases = self._packages[package]
        if go_type in aliases:
            target = self._type(package, aliases[go_type])
            if (
                target == "[]string"
            ):  # a named slice inside a map is a message of its own: {repeated items = 1}
                self.messages["meta.Strings"] = [[1, "", "[]string"]]
                return "meta.Strings"
            return target
        if go_type in structs:
            return self.add(package, go_type)
        return "string"  # a named string that is declared with a comment or in a block


def main() -> int:
    if len(sys.argv) != 1:
        sys.exit(__doc__)
    extractor = Extractor(download())
    kinds: dict[str, str] = {}
    for package, group in PACKAGES.items():
        version = package.split("/")[1]
        for kind in KINDS[package]:
            api_version = f"{group}/{version}" if group else version
            kinds[f"{api_version}/{kind}"] = extractor.add(package, kind)
    lines = [f"{json.dumps(name)}: {json.dumps(rows)}" for name, rows in sorted(extractor.messages.items())]
    kind_lines = [f"{json.dumps(kind)}: {json.dumps(name)}" for kind, name in sorted(kinds.items())]
    text = '{"generated": "by openapi/kubernetes/extract.py from the Go types of k8s.io/api",\n"kinds": {\n'
    text += ",\n".join(kind_lines) + '\n},\n"messages": {\n' + ",\n".join(lines) + "\n}}\n"
    target = Path(__file__).parent / "fields.json"
    target.write_text(text)
    print(f"wrote {len(extractor.messages)} messages to {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
