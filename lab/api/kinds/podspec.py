"""Defaults and validation of a pod's spec, shared by Pods and the templates of workloads.

Defaults are those that a cluster writes (Kubernetes 1.34). Validation covers what makes a pod meaningless on
any node: containers, names, images, ports, environment, mounts, tolerations, policies.
"""

from __future__ import annotations

from typing import Any

from apiserver.documents import formats
from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.metadata import validate_labels

Object = dict[str, Any]
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_PULL = ("Always", "IfNotPresent", "Never")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def default(spec: Object) -> None:
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("securityContext", {})
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("enableServiceLinks", True)
    if "serviceAccountName" in spec:
        spec["serviceAccount"] = spec["serviceAccountName"]
    elif "serviceAccount" in spec:
        spec["serviceAccountName"] = spec["serviceAccount"]
    for container in spec.get("initContainers", []) + spec.get("containers", []):
        _default_container(container, bool(spec.get("hostNetwork")))
    for volume in spec.get("volumes", ()):
        _default_volume(volume)


def _default_container(container: Object, host_network: bool) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("resources", {})
    if not container.get("imagePullPolicy"):
        _, _, last = container.get("image", "").rpartition("/")
        tag = last.partition("@")[0].partition(":")[2]
        untagged = ":" not in last and "@" not in last
        container["imagePullPolicy"] = "Always" if untagged or tag == "latest" else "IfNotPresent"
    resources = container["resources"]
    for name, amount in resources.get("limits", {}).items():
        resources.setdefault("requests", {}).setdefault(name, amount)
    for port in container.get("ports", ()):
        port.setdefault("protocol", "TCP")
        if host_network and not port.get("hostPort"):
            port["hostPort"] = port.get("containerPort", 0)
    for name in _PROBES:
        probe = container.get(name)
        if probe is not None:
            for key, value in (
                ("timeoutSeconds", 1),
                ("periodSeconds", 10),
                ("successThreshold", 1),
                ("failureThreshold", 3),
            ):
                probe[key] = probe.get(key) or value
            if "httpGet" in probe:
                probe["httpGet"].setdefault("path", "/")
                probe["httpGet"].setdefault("scheme", "HTTP")
    for variable in container.get("env", ()):
        reference = variable.get("valueFrom", {}).get("fieldRef")
        if reference is not None:
            reference.setdefault("apiVersion", "v1")


def _default_volume(volume: Object) -> None:
    sources = [key for key in volume if key != "name"]
    if not sources:
        volume["emptyDir"] = {}
    for key in ("configMap", "secret", "downwardAPI", "projected"):
        if key in volume:
            volume[key].setdefault("defaultMode", 420)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    for source in volume.get("projected", {}).get("sources", ()):
        if "serviceAccountToken" in source:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)


def validate(spec: Object, path: str, errors: FieldErrors) -> None:
    volumes = _validate_volumes(spec.get("volumes", ()), f"{path}.volumes", errors)
    containers = spec.get("containers", ())
    if not containers:
        errors.required(f"{path}.containers")
    names: set[str] = set()
    for list_name in ("containers", "initContainers"):
        for i, container in enumerate(spec.get(list_name, ())):
            _validate_container(container, f"{path}.{list_name}[{i}]", volumes, names, errors)
    policy = spec.get("restartPolicy")
    if policy not in ("Always", "OnFailure", "Never"):
        errors.not_supported(f"{path}.restartPolicy", policy or "", ("Always", "OnFailure", "Never"))
    dns = spec.get("dnsPolicy")
    known = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
    if dns not in known:
        errors.not_supported(f"{path}.dnsPolicy", dns or "", known)
    validate_labels(spec.get("nodeSelector", {}), f"{path}.nodeSelector", errors)
    for field, check in (
        ("hostname", formats.dns_label),
        ("subdomain", formats.dns_label),
        ("nodeName", formats.dns_subdomain),
        ("serviceAccountName", formats.dns_subdomain),
    ):
        if spec.get(field):
            errors.invalids(f"{path}.{field}", spec[field], check(spec[field]))
    for field, lowest in (("terminationGracePeriodSeconds", 0), ("activeDeadlineSeconds", 1)):
        value = spec.get(field)
        if value is not None and value < lowest:
            words = (
                "must be greater than or equal to 0"
                if lowest == 0
                else "must be between 1 and 2147483647, inclusive"
            )
            errors.invalid(f"{path}.{field}", value, words)
    for i, toleration in enumerate(spec.get("tolerations", ())):
        _validate_toleration(toleration, f"{path}.tolerations[{i}]", errors)
    if spec.get("hostNetwork"):
        for i, container in enumerate(containers):
            for j, port in enumerate(container.get("ports", ())):
                if port.get("hostPort", 0) != port.get("containerPort"):
                    errors.invalid(
                        f"{path}.containers[{i}].ports[{j}].hostPort",
                        port.get("hostPort", 0),
                        "must match `containerPort` when `hostNetwork` is true",
                    )


def _validate_volumes(volumes: Any, path: str, errors: FieldErrors) -> set[str]:
    names: set[str] = set()
    for i, volume in enumerate(volumes):
        where, name = f"{path}[{i}]", volume.get("name", "")
        if not name:
            errors.required(f"{where}.name")
        else:
            errors.invalids(f"{where}.name", name, formats.dns_label(name))
            if name in names:
                errors.duplicate(f"{where}.name", name)
            names.add(name)
        sources = [key for key in volume if key != "name"]
        if len(sources) > 1:
            for extra in sources[1:]:
                errors.forbidden(f"{where}.{extra}", "may not specify more than 1 volume type")
    return names


def _validate_container(
    container: Object, path: str, volumes: set[str], names: set[str], errors: FieldErrors
) -> None:
    name = container.get("name", "")
    if not name:
        errors.required(f"{path}.name")
    else:
        errors.invalids(f"{path}.name", name, formats.dns_label(name))
        if name in names:
            errors.duplicate(f"{path}.name", name)
        names.add(name)
    image = container.get("image", "")
    if not image:
        errors.required(f"{path}.image")
    elif image.strip() != image:
        errors.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    pull = container.get("imagePullPolicy", "")
    if pull not in _PULL:
        errors.not_supported(f"{path}.imagePullPolicy", pull, _PULL)
    port_names: set[str] = set()
    for i, port in enumerate(container.get("ports", ())):
        _validate_port(port, f"{path}.ports[{i}]", port_names, errors)
    for i, variable in enumerate(container.get("env", ())):
        where, key = f"{path}.env[{i}]", variable.get("name", "")
        if not key:
            errors.required(f"{where}.name")
        else:
            errors.invalids(f"{where}.name", key, formats.environment_name(key))
        if variable.get("value") and variable.get("valueFrom"):
            errors.invalid(f"{where}.valueFrom", "", "may not be specified when `value` is not empty")
    mounts: set[str] = set()
    for i, mount in enumerate(container.get("volumeMounts", ())):
        where = f"{path}.volumeMounts[{i}]"
        if not mount.get("name"):
            errors.required(f"{where}.name")
        elif mount["name"] not in volumes:
            errors.not_found(f"{where}.name", mount["name"])
        if not mount.get("mountPath"):
            errors.required(f"{where}.mountPath")
        elif mount["mountPath"] in mounts:
            errors.invalid(f"{where}.mountPath", mount["mountPath"], "must be unique")
        mounts.add(mount.get("mountPath", ""))


def _validate_port(port: Object, path: str, names: set[str], errors: FieldErrors) -> None:
    name = port.get("name")
    if name:
        problems = formats.port_name(name)
        errors.invalids(f"{path}.name", name, problems)
        if not problems:
            if name in names:
                errors.duplicate(f"{path}.name", name)
            names.add(name)
    number = port.get("containerPort", 0)
    if number == 0:
        errors.required(f"{path}.containerPort")
    else:
        errors.invalids(f"{path}.containerPort", number, formats.port_number(number))
    host = port.get("hostPort", 0)
    if host:
        errors.invalids(f"{path}.hostPort", host, formats.port_number(host))
    if port.get("protocol") not in _PROTOCOLS:
        errors.not_supported(f"{path}.protocol", port.get("protocol", ""), _PROTOCOLS)


def _validate_toleration(toleration: Object, path: str, errors: FieldErrors) -> None:
    key, operator = toleration.get("key", ""), toleration.get("operator") or "Equal"
    if key:
        errors.invalids(f"{path}.key", key, formats.qualified_name(key))
    elif operator != "Exists":
        errors.invalid(
            f"{path}.operator",
            operator,
            'operator must be Exists when `key` is empty, which means "match all values and all keys"',
        )
    if operator not in ("Equal", "Exists"):
        errors.not_supported(f"{path}.operator", operator, ("Equal", "Exists"))
    if operator == "Exists" and toleration.get("value"):
        errors.invalid(f"{path}.operator", toleration, "value must be empty when `operator` is 'Exists'")
    effect = toleration.get("effect")
    if effect and effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
        errors.not_supported(f"{path}.effect", effect, ("NoSchedule", "PreferNoSchedule", "NoExecute"))
