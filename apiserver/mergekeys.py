"""How lists of Kubernetes' built-in kinds merge: by a key, as sets of plain values, or not at all.

The ``patchStrategy`` and ``patchMergeKey`` tags of Kubernetes' Go types, for the kinds that a small cluster
has. A list that is not named here is atomic: a patch replaces it as a whole.
"""

from __future__ import annotations

SET = ""
"""The key of lists of plain values that merge as sets."""

# By the names of the field that holds the list and of the field above it.
_UNDER: dict[tuple[str, str], str] = {
    ("metadata", "finalizers"): SET,
    ("metadata", "ownerReferences"): "uid",
    ("status", "conditions"): "type",
    ("status", "addresses"): "type",
    ("status", "podIPs"): "ip",
    ("spec", "containers"): "name",
    ("spec", "initContainers"): "name",
    ("spec", "ephemeralContainers"): "name",
    ("spec", "volumes"): "name",
    ("spec", "imagePullSecrets"): "name",
    ("spec", "hostAliases"): "ip",
    ("spec", "topologySpreadConstraints"): "topologyKey",
    ("spec", "resourceClaims"): "name",
    ("spec", "schedulingGates"): "name",
    ("spec", "podCIDRs"): SET,
}

_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
for _container in _CONTAINERS:
    _UNDER[(_container, "ports")] = "containerPort"
    _UNDER[(_container, "env")] = "name"
    _UNDER[(_container, "volumeMounts")] = "mountPath"
    _UNDER[(_container, "volumeDevices")] = "devicePath"

_KINDS: dict[tuple[str, str, str], str] = {
    ("Service", "spec", "ports"): "port",
    ("ServiceAccount", "", "secrets"): "name",
    ("ServiceAccount", "", "imagePullSecrets"): "name",
    ("Namespace", "spec", "finalizers"): "-",
    ("MutatingWebhookConfiguration", "", "webhooks"): "name",
    ("ValidatingWebhookConfiguration", "", "webhooks"): "name",
}


def merge_key(kind: str, path: tuple[str, ...]) -> str | None:
    """The key of the list at ``path`` (field names from the top), SET, or None for an atomic list."""
    name, above = path[-1], path[-2] if len(path) > 1 else ""
    key = _KINDS.get((kind, above, name))
    if key is None:
        key = _UNDER.get((above, name))
    return None if key == "-" else key
