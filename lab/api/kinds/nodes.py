"""v1 Node."""

from __future__ import annotations

import datetime
import ipaddress
from typing import Any

from apiserver.documents import formats
from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.kind import Heading
from apiserver.resources import Object
from lab.api.kinds.builtin import BuiltIn
from lab.api.kinds.table import AGE, NAME, age

_ROLE = "node-role.kubernetes.io/"
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


class Nodes(BuiltIn):
    group, version, kind = "", "v1", "Node"
    plural, singular, namespaced = "nodes", "node", False
    short_names = ("no",)
    type_name = "core.Node"
    has_status = True
    table = (
        NAME,
        Heading("Status"),
        Heading("Roles"),
        AGE,
        Heading("Version"),
        Heading("Internal-IP", priority=1),
        Heading("External-IP", priority=1),
        Heading("OS-Image", priority=1),
        Heading("Kernel-Version", priority=1),
        Heading("Container-Runtime", priority=1),
    )

    def prepare_create(self, obj: Object) -> None:
        """Kubelets register with their status, so it stays."""
        obj.setdefault("spec", {})
        obj.setdefault("status", {})

    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {})
        status = obj.get("status", {})
        if "capacity" in status:
            status.setdefault("allocatable", dict(status["capacity"]))

    def validate(self, obj: Object, errors: FieldErrors) -> None:
        spec = obj.get("spec", {})
        cidrs = spec.get("podCIDRs", [])
        for i, cidr in enumerate(cidrs):
            errors.invalids(f"spec.podCIDRs[{i}]", cidr, formats.cidr(cidr))
        parsed = [network for network in map(formats.parse_cidr, cidrs) if network is not None]
        if len(cidrs) > 2 or (len(parsed) == 2 and parsed[0].version == parsed[1].version):
            errors.invalid("spec.podCIDRs", cidrs, "may specify no more than one CIDR for each IP family")
        single = spec.get("podCIDR", "")
        if single and not cidrs:
            spec["podCIDRs"] = [single]
        elif single and cidrs and single != cidrs[0]:
            errors.invalid("spec.podCIDRs", cidrs, "must match podCIDR")
        elif cidrs and not single:
            spec["podCIDR"] = cidrs[0]
        for i, taint in enumerate(spec.get("taints", ())):
            path = f"spec.taints[{i}]"
            errors.invalids(f"{path}.key", taint.get("key", ""), formats.qualified_name(taint.get("key", "")))
            value = taint.get("value", "")
            errors.invalids(f"{path}.value", value, formats.label_value(value))
            if not taint.get("effect"):
                errors.required(f"{path}.effect")
            elif taint["effect"] not in _EFFECTS:
                errors.not_supported(f"{path}.effect", taint["effect"], _EFFECTS)

    def validate_update(self, new: Object, old: Object, errors: FieldErrors) -> None:
        self.validate(new, errors)
        was, now = old.get("spec", {}), new.get("spec", {})
        if was.get("podCIDRs") and was["podCIDRs"] != now.get("podCIDRs"):
            errors.forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')
        if was.get("providerID") and was["providerID"] != now.get("providerID"):
            errors.forbidden(
                "spec.providerID", 'node updates may not change providerID except from "" to valid'
            )

    def validate_status(self, new: Object, old: Object, errors: FieldErrors) -> None:
        for i, entry in enumerate(new.get("status", {}).get("addresses", ())):
            if entry.get("type") in ("InternalIP", "ExternalIP"):
                try:
                    ipaddress.ip_address(entry.get("address", ""))
                except ValueError:
                    words = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
                    errors.invalid(f"status.addresses[{i}].address", entry.get("address", ""), words)

    def fields(self, obj: Object) -> dict[str, str]:
        return {"spec.unschedulable": "true" if obj.get("spec", {}).get("unschedulable") else "false"}

    def cells(self, obj: Object, now: datetime.datetime) -> list[Any]:
        spec, status, metadata = obj.get("spec", {}), obj.get("status", {}), obj["metadata"]
        conditions = {c.get("type"): c.get("status") for c in status.get("conditions", ())}
        state = "Unknown"
        if "Ready" in conditions:
            state = "Ready" if conditions["Ready"] == "True" else "NotReady"
        if spec.get("unschedulable"):
            state += ",SchedulingDisabled"
        roles = {key.removeprefix(_ROLE) for key in metadata.get("labels", {}) if key.startswith(_ROLE)} - {
            ""
        }
        info = status.get("nodeInfo", {})
        addresses = status.get("addresses", ())

        def address(type_: str) -> str:
            return next((a.get("address", "") for a in addresses if a.get("type") == type_), "<none>")

        return [
            metadata["name"],
            state,
            ",".join(sorted(roles)) or "<none>",
            age(obj, now),
            info.get("kubeletVersion", ""),
            address("InternalIP"),
            address("ExternalIP"),
            info.get("osImage") or "<unknown>",
            info.get("kernelVersion") or "<unknown>",
            info.get("containerRuntimeVersion") or "<unknown>",
        ]
