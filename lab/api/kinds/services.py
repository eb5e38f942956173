"""v1 Service, v1 Endpoints, discovery.k8s.io/v1 EndpointSlice. Addresses are given out by the controllers."""

from __future__ import annotations

import datetime
from typing import Any

from apiserver.documents import formats
from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.kind import Heading
from apiserver.documents.metadata import validate_labels
from apiserver.resources import Object
from lab.api.kinds.builtin import BuiltIn
from lab.api.kinds.table import AGE, NAME, age, labels_text, some

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")


class Services(BuiltIn):
    group, version, kind = "", "v1", "Service"
    plural, singular, namespaced = "services", "service", True
    returns_deleted = True
    short_names, categories = ("svc",), ("all",)
    type_name = "core.Service"
    has_status = True
    table = (
        NAME,
        Heading("Type"),
        Heading("Cluster-IP"),
        Heading("External-IP"),
        Heading("Port(s)"),
        AGE,
        Heading("Selector", priority=1),
    )

    def check_name(self, name: str) -> list[str]:
        return formats.dns1035_label(name)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        affinity = spec.setdefault("sessionAffinity", "None")
        if affinity == "None":
            spec.pop("sessionAffinityConfig", None)
        elif affinity == "ClientIP":
            spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {}).setdefault(
                "timeoutSeconds", 10800
            )
        kind = spec.setdefault("type", "ClusterIP")
        for port in spec.get("ports", ()):
            port.setdefault("protocol", "TCP")
            if port.get("targetPort") in (None, 0, ""):
                port["targetPort"] = port.get("port", 0)
        if kind in ("NodePort", "LoadBalancer"):
            spec.setdefault("externalTrafficPolicy", "Cluster")
        if kind in ("NodePort", "LoadBalancer", "ClusterIP"):
            spec.setdefault("internalTrafficPolicy", "Cluster")
        if kind == "LoadBalancer":
            spec.setdefault("allocateLoadBalancerNodePorts", True)

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {"loadBalancer": {}}

    def validate(self, obj: Object, errors: FieldErrors) -> None:
        spec = obj["spec"]
        kind = spec.get("type", "")
        ports = spec.get("ports", ())
        headless = spec.get("clusterIP") == "None"
        if kind not in _TYPES:
            errors.not_supported("spec.type", kind, _TYPES)
        if not ports and not headless and kind != "ExternalName":
            errors.required("spec.ports")
        if kind == "LoadBalancer" and headless:
            errors.invalid("spec.clusterIPs[0]", "None", "may not be set to 'None' for LoadBalancer services")
        if kind == "ExternalName":
            name = spec.get("externalName", "")
            if not name:
                errors.required("spec.externalName")
            else:
                errors.invalids("spec.externalName", name, formats.dns_subdomain(name.rstrip(".")))
        names: set[str] = set()
        pairs: set[tuple[Any, Any]] = set()
        for i, port in enumerate(ports):
            path = f"spec.ports[{i}]"
            name = port.get("name", "")
            if not name and len(ports) > 1:
                errors.required(f"{path}.name")
            elif name:
                errors.invalids(f"{path}.name", name, formats.dns_label(name))
                if name in names:
                    errors.duplicate(f"{path}.name", name)
                names.add(name)
            number = port.get("port", 0)
            errors.invalids(f"{path}.port", number, formats.port_number(number))
            protocol = port.get("protocol", "")
            if protocol not in _PROTOCOLS:
                errors.not_supported(f"{path}.protocol", protocol, _PROTOCOLS)
            target = port.get("targetPort")
            if isinstance(target, int):
                errors.invalids(f"{path}.targetPort", target, formats.port_number(target))
            elif target:
                errors.invalids(f"{path}.targetPort", target, formats.port_name(target))
            if (protocol, number) in pairs:
                errors.duplicate(path, port)
            pairs.add((protocol, number))
            if port.get("nodePort") and kind == "ClusterIP":
                errors.forbidden(f"{path}.nodePort", "may not be used when `type` is 'ClusterIP'")
        validate_labels(spec.get("selector", {}), "spec.selector", errors)
        affinity = spec.get("sessionAffinity", "")
        if affinity not in ("ClientIP", "None"):
            errors.not_supported("spec.sessionAffinity", affinity, ("ClientIP", "None"))
        for i, address in enumerate(spec.get("clusterIPs", ())):
            if address != "None":
                errors.invalids(f"spec.clusterIPs[{i}]", address, formats.ip_address(address))
        for i, address in enumerate(spec.get("externalIPs", ())):
            errors.invalids(f"spec.externalIPs[{i}]", address, formats.ip_address(address))

    def validate_update(self, new: Object, old: Object, errors: FieldErrors) -> None:
        was, now = old["spec"], new["spec"]
        kept = "ExternalName" not in (was.get("type"), now.get("type")) and bool(was.get("clusterIPs"))
        if kept and now.get("clusterIPs", [None])[0] != was["clusterIPs"][0]:
            errors.invalid("spec.clusterIPs[0]", now.get("clusterIPs"), "may not change once set")
        self.validate(new, errors)

    def cells(self, obj: Object, now: datetime.datetime) -> list[Any]:
        spec, status = obj.get("spec", {}), obj.get("status", {})
        kind, external = spec.get("type", ""), ",".join(spec.get("externalIPs", ()))
        balanced = ",".join(
            entry.get("ip") or entry.get("hostname", "")
            for entry in status.get("loadBalancer", {}).get("ingress", ())
        )
        if kind == "ExternalName":
            external = spec.get("externalName", "")
        elif kind == "LoadBalancer":
            external = ",".join(filter(None, (balanced, external))) or "<pending>"
        ports = []
        for port in spec.get("ports", ()):
            node = f":{port['nodePort']}" if port.get("nodePort") else ""
            ports.append(f"{port.get('port')}{node}/{port.get('protocol')}")
        return [
            obj["metadata"]["name"],
            kind,
            (spec.get("clusterIPs") or ["<none>"])[0],
            external or "<none>",
            ",".join(ports) or "<none>",
            age(obj, now),
            labels_text(spec.get("selector")),
        ]


def _host_port(address: str, port: Any) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class Endpoints(BuiltIn):
    group, version, kind = "", "v1", "Endpoints"
    plural, singular, namespaced = "endpoints", "endpoints", True
    short_names = ("ep",)
    type_name = "core.Endpoints"
    table = (NAME, Heading("Endpoints"), AGE)

    def default(self, obj: Object) -> None:
        for subset in obj.get("subsets", ()):
            for port in subset.get("ports", ()):
                port.setdefault("protocol", "TCP")

    def validate(self, obj: Object, errors: FieldErrors) -> None:
        for i, subset in enumerate(obj.get("subsets", ())):
            path = f"subsets[{i}]"
            if not subset.get("addresses") and not subset.get("notReadyAddresses"):
                errors.required(path, "must specify `addresses` or `notReadyAddresses`")
            for name in ("addresses", "notReadyAddresses"):
                for j, entry in enumerate(subset.get(name, ())):
                    _validate_endpoint_address(entry.get("ip", ""), f"{path}.{name}[{j}].ip", errors)
            for j, port in enumerate(subset.get("ports", ())):
                number = port.get("port", 0)
                errors.invalids(f"{path}.ports[{j}].port", number, formats.port_number(number))

    def cells(self, obj: Object, now: datetime.datetime) -> list[Any]:
        listed: list[str] = []
        for subset in obj.get("subsets", ()):
            addresses = [entry.get("ip", "") for entry in subset.get("addresses", ())]
            ports = subset.get("ports", ())
            listed += addresses if not ports else []
            listed += [_host_port(address, port.get("port")) for port in ports for address in addresses]
        return [obj["metadata"]["name"], some(listed), age(obj, now)]


def _validate_endpoint_address(text: str, path: str, errors: FieldErrors) -> None:
    address = formats.parse_address(text)
    if address is None:
        errors.invalids(path, text, formats.ip_address(text))
    elif address.is_loopback:
        errors.invalid(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    elif address.is_unspecified:
        errors.invalid(path, text, f"may not be unspecified ({text})")
    elif address.is_link_local:
        errors.invalid(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")


class EndpointSlices(BuiltIn):
    group, version, kind = "discovery.k8s.io", "v1", "EndpointSlice"
    plural, singular, namespaced = "endpointslices", "endpointslice", True
    type_name = "discovery.EndpointSlice"
    tracks_generation = True
    table = (NAME, Heading("AddressType"), Heading("Ports"), Heading("Endpoints"), AGE)

    def default(self, obj: Object) -> None:
        for port in obj.get("ports", ()):
            port.setdefault("protocol", "TCP")
            port.setdefault("name", "")

    def generation_part(self, obj: Object) -> Any:
        return {key: value for key, value in obj.items() if key != "metadata"}

    def validate(self, obj: Object, errors: FieldErrors) -> None:
        kind = obj.get("addressType", "")
        if kind not in _ADDRESS_TYPES:
            errors.not_supported("addressType", kind, _ADDRESS_TYPES)
        endpoints = obj.get("endpoints", ())
        if len(endpoints) > 1000:
            errors.too_many("endpoints", len(endpoints), 1000)
        for i, endpoint in enumerate(endpoints):
            addresses = endpoint.get("addresses", ())
            if not addresses:
                errors.required(f"endpoints[{i}].addresses", "must contain at least 1 address")
            for j, text in enumerate(addresses):
                path = f"endpoints[{i}].addresses[{j}]"
                if kind in ("IPv4", "IPv6"):
                    address = formats.parse_address(text)
                    if address is None or f"IPv{address.version}" != kind:
                        errors.invalid(path, text, f"must be an {kind} address")
                    else:
                        _validate_endpoint_address(text, path, errors)
        for i, port in enumerate(obj.get("ports", ())):
            if port.get("protocol") not in _PROTOCOLS:
                errors.not_supported(f"ports[{i}].protocol", port.get("protocol", ""), _PROTOCOLS)

    def validate_update(self, new: Object, old: Object, errors: FieldErrors) -> None:
        errors.immutable("addressType", new.get("addressType"), old.get("addressType"))
        self.validate(new, errors)

    def cells(self, obj: Object, now: datetime.datetime) -> list[Any]:
        ports = [str(port.get("port") or port.get("name") or "*") for port in obj.get("ports", ())]
        addresses = [a for endpoint in obj.get("endpoints", ()) for a in endpoint.get("addresses", ())]
        unset = "<unset>"
        return [
            obj["metadata"]["name"],
            obj.get("addressType", ""),
            some(ports) if ports else unset,
            some(addresses) if addresses else unset,
            age(obj, now),
        ]
