"""Services: cluster IPs and node ports, and the Endpoints and EndpointSlices of those with selectors."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.kind import Kind
from apiserver.documents.operation import Operation
from apiserver.documents.refusals import refuse
from apiserver.documents.registry import Registry
from apiserver.errors import StatusError
from apiserver.resources import Object
from lab.api.controllers.namespaces import namespace_active
from lab.api.reactor import Reactor

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
SLICES = "endpointslices.discovery.k8s.io"
SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_LABEL = "endpointslice.kubernetes.io/managed-by"
_MANAGER = "endpointslice-controller.k8s.io"
_NODE_PORTS = range(30000, 32768)


class ServiceAddresses:
    """Admission: gives Services their addresses and node ports, from what no other Service has."""

    def __init__(self, registry: Registry, service_cidrs: Sequence[Network]) -> None:
        self._registry = registry
        self._networks = list(service_cidrs)
        self._next = dict.fromkeys(service_cidrs, 2)  # the first address is the API's own
        self._used: dict[str, tuple[str, str]] = {}
        self._ports: dict[int, tuple[str, str]] = {}
        registry.admit(self._admit)
        registry.observe(self._observe)

    def _observe(self, kind: Kind, old: Object | None, new: Object | None) -> None:
        if kind.resource != "services":
            return
        for obj, present in ((old, False), (new, True)):
            if obj is None:
                continue
            key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
            for address in obj["spec"].get("clusterIPs", ()):
                _note(self._used, address, key, present and address != "None")
            for port in obj["spec"].get("ports", ()):
                if port.get("nodePort"):
                    _note(self._ports, port["nodePort"], key, present)

    def _admit(self, kind: Kind, operation: Operation) -> None:
        if kind.resource != "services" or operation.verb == "delete" or operation.subresource:
            return
        service = operation.new
        assert service is not None
        spec, problems = service["spec"], FieldErrors()
        if spec.get("type") == "ExternalName":
            for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                spec.pop(name, None)
            return
        if operation.old is not None:
            before = operation.old["spec"]
            for name in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                if name in before:
                    spec.setdefault(name, before[name])
            spec.setdefault("clusterIP", before.get("clusterIP", ""))
        self._assign_addresses(spec, (operation.namespace, operation.name), problems)
        if spec.get("type") in ("NodePort", "LoadBalancer"):
            self._assign_ports(spec, (operation.namespace, operation.name), problems)
        elif operation.old is not None and operation.old["spec"].get("type") != spec.get("type"):
            for port in spec.get("ports", ()):
                port.pop("nodePort", None)
        if problems:
            raise refuse(kind, operation.name, problems)

    def _assign_addresses(self, spec: Object, key: tuple[str, str], problems: FieldErrors) -> None:
        single, given = spec.get("clusterIP", ""), list(spec.get("clusterIPs", ()))
        if single and not given:
            given = [single]
        families = spec.get("ipFamilies") or []
        if single == "None" or given == ["None"]:
            spec["clusterIP"], spec["clusterIPs"] = "None", ["None"]
            spec["ipFamilies"] = families or [f"IPv{self._networks[0].version}"]
            spec.setdefault("ipFamilyPolicy", "SingleStack")
            return
        policy = spec.setdefault("ipFamilyPolicy", "SingleStack")
        wanted = list(families)
        if not wanted:
            versions = [ipaddress.ip_address(a).version for a in given if _is_address(a)]
            wanted = [f"IPv{v}" for v in versions] or [f"IPv{self._networks[0].version}"]
        if policy in ("PreferDualStack", "RequireDualStack"):
            wanted += [f"IPv{n.version}" for n in self._networks if f"IPv{n.version}" not in wanted]
            if policy == "RequireDualStack" and len(wanted) < 2:
                words = "this cluster is not configured for dual-stack services"
                problems.invalid("spec.ipFamilyPolicy", policy, words)
        addresses: list[str] = []
        for i, family in enumerate(wanted):
            network = next((n for n in self._networks if f"IPv{n.version}" == family), None)
            if network is None:
                problems.invalid(f"spec.ipFamilies[{i}]", family, "not configured on this cluster")
                continue
            if i < len(given):
                self._check_given(given[i], network, key, f"spec.clusterIPs[{i}]", problems)
                addresses.append(given[i])
            else:
                addresses.append(self._free(network))
        if addresses:
            spec["clusterIP"], spec["clusterIPs"], spec["ipFamilies"] = addresses[0], addresses, wanted

    def _check_given(
        self, address: str, network: Network, key: tuple[str, str], path: str, problems: FieldErrors
    ) -> None:
        owner = self._used.get(address)
        if owner is not None and owner != key:
            words = "failed to allocate IP " + address + ": provided IP is already allocated"
            problems.invalid(path, [address], words)
        elif _is_address(address) and ipaddress.ip_address(address) not in network:
            words = f"failed to allocate IP {address}: the provided network does not match the current range"
            problems.invalid(path, [address], words)

    def _free(self, network: Network) -> str:
        size = min(network.num_addresses, 1 << 16)
        for _ in range(size):
            offset = self._next[network]
            self._next[network] = offset + 1 if offset + 2 < size else 2
            address = str(network[offset])
            if address not in self._used:
                return address
        raise StatusError(
            500, "InternalError", f"Internal error occurred: no cluster IP of {network} is free"
        )

    def _assign_ports(self, spec: Object, key: tuple[str, str], problems: FieldErrors) -> None:
        taken = set(self._ports)
        for i, port in enumerate(spec.get("ports", ())):
            given = port.get("nodePort")
            if given:
                if given not in _NODE_PORTS:
                    words = "provided port is not in the valid range. The range of valid ports is 30000-32767"
                    problems.invalid(f"spec.ports[{i}].nodePort", given, words)
                elif self._ports.get(given, key) != key:
                    problems.invalid(f"spec.ports[{i}].nodePort", given, "provided port is already allocated")
                continue
            port["nodePort"] = next(number for number in _NODE_PORTS if number not in taken)
            taken.add(port["nodePort"])


def _note(table: dict[Any, tuple[str, str]], item: Any, key: tuple[str, str], present: bool) -> None:
    if present:
        table[item] = key
    elif table.get(item) == key:
        del table[item]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class EndpointController:
    """Endpoints and EndpointSlices of Services with selectors: one slice of each address family."""

    def __init__(self, registry: Registry, reactor: Reactor) -> None:
        self._registry = registry
        self._reactor = reactor
        self._services: dict[tuple[str, str], Object] = {}
        registry.observe(self._observe)

    def _observe(self, kind: Kind, old: Object | None, new: Object | None) -> None:
        obj = new if new is not None else old
        assert obj is not None
        if kind.resource == "services":
            key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
            if new is None:
                self._services.pop(key, None)
                self._soon(*key)
            elif new["spec"].get("selector"):
                self._services[key] = new["spec"]["selector"]
                self._soon(*key)
            else:
                self._services.pop(key, None)
        elif kind.resource == "pods" and self._services:
            namespace = obj["metadata"]["namespace"]
            for (where, name), selector in self._services.items():
                if where == namespace and (_matches(selector, old) or _matches(selector, new)):
                    self._soon(where, name)

    def _soon(self, namespace: str, name: str) -> None:
        self._reactor.soon(("endpoints", namespace, name), lambda: self._sync(namespace, name))

    def _sync(self, namespace: str, name: str) -> None:
        service = self._registry.get("services", namespace, name)
        if service is None or service["metadata"].get("deletionTimestamp"):
            self._remove("endpoints", namespace, name)
            for slice_ in self._slices(namespace, name):
                self._remove(SLICES, namespace, slice_["metadata"]["name"])
            return
        if not namespace_active(self._registry, namespace):
            return
        selector = service["spec"].get("selector")
        if not selector:
            return
        pods = sorted(
            (
                pod
                for pod in self._registry.items("pods", namespace)
                if _matches(selector, pod) and _has_address(pod)
            ),
            key=lambda pod: pod["metadata"]["name"],
        )
        self._write_endpoints(service, pods)
        self._write_slices(service, pods)

    def _slices(self, namespace: str, name: str) -> list[Object]:
        return [
            slice_
            for slice_ in self._registry.items(SLICES, namespace)
            if slice_["metadata"].get("labels", {}).get(SERVICE_LABEL) == name
            and slice_["metadata"].get("labels", {}).get(MANAGED_LABEL) == _MANAGER
        ]

    def _write_endpoints(self, service: Object, pods: list[Object]) -> None:
        family = (service["spec"].get("ipFamilies") or ["IPv4"])[0]
        subsets: list[Object] = []
        for pod in pods:
            address = _address(pod, family)
            ports = _ports(service, pod)
            if not address or (service["spec"].get("ports") and not ports):
                continue
            entry = {"ip": address, "targetRef": _reference(pod)}
            if pod["spec"].get("nodeName"):
                entry["nodeName"] = pod["spec"]["nodeName"]
            subset = next((s for s in subsets if s.get("ports", []) == ports), None)
            if subset is None:
                subset = {"ports": ports} if ports else {}
                subsets.append(subset)
            ready = _ready(pod) or service["spec"].get("publishNotReadyAddresses")
            subset.setdefault("addresses" if ready else "notReadyAddresses", []).append(entry)
        metadata = {"name": service["metadata"]["name"], "namespace": service["metadata"]["namespace"]}
        labels = dict(service["metadata"].get("labels", {}))
        if service["spec"].get("clusterIP") == "None":
            labels["service.kubernetes.io/headless"] = ""
        labels["endpoints.kubernetes.io/managed-by"] = "endpoint-controller"
        body: Object = {"metadata": {**metadata, "labels": labels}}
        if subsets:
            body["subsets"] = subsets
        self._put("endpoints", body)

    def _write_slices(self, service: Object, pods: list[Object]) -> None:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        present = {slice_["addressType"]: slice_ for slice_ in self._slices(namespace, name)}
        for family in service["spec"].get("ipFamilies") or ["IPv4"]:
            groups: dict[str, tuple[list[Object], list[Object]]] = {}
            for pod in pods:
                address = _address(pod, family)
                ports = _ports(service, pod)
                if not address or (service["spec"].get("ports") and not ports):
                    continue
                groups.setdefault(repr(ports), (ports, []))[1].append(_endpoint(service, pod, address))
            ports, endpoints = next(iter(groups.values()), (_ports(service, None), []))
            previous = present.get(family)
            suffix = "-" + family.lower()[2:]
            slice_name = previous["metadata"]["name"] if previous else f"{name[:50]}{suffix}"
            owner = {
                "apiVersion": "v1",
                "kind": "Service",
                "name": name,
                "uid": service["metadata"]["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            }
            labels = {**service["metadata"].get("labels", {}), SERVICE_LABEL: name, MANAGED_LABEL: _MANAGER}
            body: Object = {
                "metadata": {
                    "name": slice_name,
                    "namespace": namespace,
                    "labels": labels,
                    "ownerReferences": [owner],
                },
                "addressType": family,
                "endpoints": endpoints,
                "ports": ports,
            }
            self._put(SLICES, body)

    def _put(self, resource: str, body: Object) -> None:
        registry = self._registry
        kind = registry.kinds[resource]
        metadata = body["metadata"]
        if registry.get(resource, metadata["namespace"], metadata["name"]) is None:
            registry.create(kind, body)
            return

        def change(current: Object, _version: int) -> Object:
            kept = {
                key: value
                for key, value in current["metadata"].items()
                if key not in ("labels", "ownerReferences")
            }
            return {**body, "metadata": {**kept, **metadata}}

        registry.update(kind, metadata["namespace"], metadata["name"], change, unconditional=True)

    def _remove(self, resource: str, namespace: str, name: str) -> None:
        if self._registry.get(resource, namespace, name) is not None:
            self._registry.delete(self._registry.kinds[resource], namespace, name)


def _matches(selector: Object, pod: Object | None) -> bool:
    if pod is None:
        return False
    labels = pod["metadata"].get("labels", {})
    return all(labels.get(key) == value for key, value in selector.items())


def _has_address(pod: Object) -> bool:
    status = pod.get("status", {})
    return bool(status.get("podIP")) and status.get("phase") not in ("Succeeded", "Failed")


def _address(pod: Object, family: str) -> str:
    status = pod.get("status", {})
    listed = [entry.get("ip", "") for entry in status.get("podIPs", ())] or [status.get("podIP", "")]
    return next(
        (
            text
            for text in listed
            if _is_address(text) and f"IPv{ipaddress.ip_address(text).version}" == family
        ),
        "",
    )


def _ready(pod: Object) -> bool:
    if pod["metadata"].get("deletionTimestamp"):
        return False
    return any(
        c.get("type") == "Ready" and c.get("status") == "True"
        for c in pod.get("status", {}).get("conditions", ())
    )


def _ports(service: Object, pod: Object | None) -> list[Object]:
    """The service's ports as this pod has them; a named target that the pod lacks is left out."""
    found: list[Object] = []
    for port in service["spec"].get("ports", ()):
        target: Any = port.get("targetPort")
        if isinstance(target, str):
            declared = [
                p for c in (pod or {}).get("spec", {}).get("containers", ()) for p in c.get("ports", ())
            ]
            target = next(
                (
                    p["containerPort"]
                    for p in declared
                    if p.get("name") == target and p.get("protocol", "TCP") == port.get("protocol")
                ),
                None,
            )
            if target is None:
                continue
        entry = {"name": port.get("name", ""), "port": target, "protocol": port.get("protocol", "TCP")}
        if port.get("appProtocol"):
            entry["appProtocol"] = port["appProtocol"]
        found.append(entry)
    return found


def _reference(pod: Object) -> Object:
    metadata = pod["metadata"]
    return {
        "kind": "Pod",
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "uid": metadata["uid"],
    }


def _endpoint(service: Object, pod: Object, address: str) -> Object:
    ready = _ready(pod)
    terminating = bool(pod["metadata"].get("deletionTimestamp"))
    published = ready or bool(service["spec"].get("publishNotReadyAddresses"))
    entry: Object = {
        "addresses": [address],
        "conditions": {"ready": published, "serving": ready, "terminating": terminating},
        "targetRef": _reference(pod),
    }
    if pod["spec"].get("nodeName"):
        entry["nodeName"] = pod["spec"]["nodeName"]
    return entry
