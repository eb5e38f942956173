"""What the tests of agent.policies share: a datapath that remembers, pods, and two independent evaluators.

``allowed_by_documents`` reads the JSON form of policies and groups as the controller would send them and
knows nothing of agent.policies; ``allowed_by_rules`` reads the rules that the agent would put into OVS, with
the datapath's semantics. They must agree.
"""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.interfaces import InterfaceStore
from agent.model import Action, Address, Direction, IPAddress, OFPort, PodInterface, PolicyRule, ServicePort
from agent.policies.objects import Kind
from agent.policies.stream import WatchStream
from apis.controlplane import v1beta2_pb2 as pb
from apis.envelope import varint, watch_frame, wrap

STREAMS = Path(__file__).parents[2] / "data" / "agent-streams"
API = "controlplane.antrea.io/v1beta2"


class Datapath:
    """A PolicyFlows that holds what is wanted and, after a commit, what is there."""

    def __init__(self) -> None:
        self.wanted: dict[str, PolicyRule] = {}
        self.committed: dict[str, PolicyRule] = {}
        self.commits = 0
        self.operations = 0
        self.fail_next = 0
        self.impossible = ""  # rules of the policy with this name cannot be expressed

    def set(self, rule: PolicyRule) -> None:
        if rule.policy.name == f"{self.impossible}-source":
            raise ValueError("the rule cannot be expressed")
        self.operations += 1
        self.wanted[rule.id] = rule

    def delete(self, rule_id: str) -> None:
        self.operations += 1
        del self.wanted[rule_id]

    async def commit(self) -> None:
        if self.fail_next:
            self.fail_next -= 1
            raise ConnectionError("the switch does not answer")
        self.commits += 1
        self.committed = dict(self.wanted)


def pod_interface(namespace: str, name: str, ofport: int, *ips: str) -> PodInterface:
    return PodInterface(
        name=f"{name}-{ofport:06x}",
        namespace=namespace,
        pod=name,
        container_id=f"cid-{namespace}-{name}",
        mac=f"02:00:00:00:00:{ofport:02x}",
        ips=tuple(map(ipaddress.ip_address, ips)),
        ofport=ofport,
        pod_uid=f"uid-{namespace}-{name}",
    )


def store_of(*interfaces: PodInterface) -> InterfaceStore:
    return InterfaceStore(interfaces)


# --- recordings ---


def scenarios() -> list[tuple[str, str]]:
    """(scenario, node) of all recordings."""
    return [
        (path.stem, node) for path in sorted(STREAMS.glob("*.json")) for node in json.loads(path.read_text())
    ]


@dataclass
class Recording:
    frames: dict[Kind, list[tuple[int, bytes]]]
    events: dict[Kind, list[tuple[int, dict[str, Any]]]]

    @classmethod
    def read(cls, scenario: str, node: str) -> Recording:
        data = json.loads((STREAMS / f"{scenario}.json").read_text())[node]
        return cls(
            {
                kind: [(step, base64.b64decode(frame)) for step, frame in data[kind.value]["frames"]]
                for kind in Kind
            },
            {kind: [(step, event) for step, event in data[kind.value]["events"]] for kind in Kind},
        )

    @property
    def steps(self) -> list[int]:
        return sorted({step for stream in self.frames.values() for step, _ in stream})

    def bytes_of(self, kind: Kind, step: int) -> bytes:
        """The frames of one step with their lengths, as on the connection."""
        return b"".join(
            len(frame).to_bytes(4, "big") + frame for at, frame in self.frames[kind] if at == step
        )


@dataclass
class Documents:
    """The JSON events folded: what a node's three watches amount to."""

    objects: dict[Kind, dict[str, dict[str, Any]]] = field(
        default_factory=lambda: {kind: {} for kind in Kind}
    )

    def apply(self, kind: Kind, event: dict[str, Any]) -> None:
        document = event["object"]
        objects = self.objects[kind]
        if event["type"] == "BOOKMARK":
            return
        name = document["metadata"]["name"]
        if event["type"] == "DELETED":
            del objects[name]
        elif document["kind"].endswith("Patch"):
            members = objects[name].setdefault("groupMembers", [])
            gone = [_identity(member) for member in document.get("removedGroupMembers", [])]
            new = document.get("addedGroupMembers", [])
            kept = [member for member in [*members, *new] if _identity(member) not in gone]
            objects[name]["groupMembers"] = kept
        else:
            objects[name] = json.loads(json.dumps(document))


def _identity(member: dict[str, Any]) -> str:
    return json.dumps([member.get("pod"), member.get("ips")], sort_keys=True)


# --- making objects ---


def _ip(text: str) -> bytes:
    address = ipaddress.ip_address(text)
    return address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed


def _net(message: pb.IPNet, cidr: str) -> None:
    ip, _, prefix = cidr.partition("/")
    message.ip, message.prefixLength = _ip(ip), int(prefix)


def _members(message: Any, members: Iterable[dict[str, Any]]) -> None:
    for member in members:
        out = message.add()
        out.pod.namespace, out.pod.name = member["pod"]
        out.ips.extend(map(_ip, member.get("ips", ())))
        for name, protocol, port in member.get("ports", ()):
            out.ports.add(name=name, protocol=protocol, port=port)


def group_message(kind: Kind, name: str, members: Iterable[dict[str, Any]], version: str = "") -> bytes:
    message: Any = pb.AddressGroup() if kind is Kind.ADDRESS_GROUP else pb.AppliedToGroup()
    message.metadata.name, message.metadata.uid = name, f"uid-{name}"
    message.metadata.resourceVersion = version
    _members(message.groupMembers, members)
    return bytes(message.SerializeToString())


def patch_message(
    name: str, added: Iterable[dict[str, Any]] = (), removed: Iterable[dict[str, Any]] = (), version: str = ""
) -> bytes:
    message = pb.AddressGroupPatch()
    message.metadata.name, message.metadata.resourceVersion = name, version
    _members(message.addedGroupMembers, added)
    _members(message.removedGroupMembers, removed)
    return message.SerializeToString()


def policy_message(
    name: str,
    rules: Iterable[dict[str, Any]],
    applied_to: Iterable[str],
    *,
    generation: int = 1,
    type: str = "K8sNetworkPolicy",
    version: str = "",
) -> bytes:
    """A rule: {direction, groups, blocks: [(cidr, excepts)], services: [(protocol, port, end)], action}."""
    message = pb.NetworkPolicy()
    message.metadata.name = message.metadata.uid = name
    message.metadata.generation = generation
    message.metadata.resourceVersion = version
    message.appliedToGroups.extend(applied_to)
    message.sourceRef.type, message.sourceRef.namespace = type, "ns"
    message.sourceRef.name, message.sourceRef.uid = f"{name}-source", name
    for rule in rules:
        out = message.rules.add(direction=rule["direction"], priority=-1)
        if rule.get("action", "Allow"):
            out.action = rule.get("action", "Allow")
        peer = getattr(out, "from") if rule["direction"] == "In" else out.to
        peer.addressGroups.extend(rule.get("groups", ()))
        for cidr, excepts in rule.get("blocks", ()):
            block = peer.ipBlocks.add()
            _net(block.cidr, cidr)
            for hole in excepts:
                _net(getattr(block, "except").add(), hole)
        for protocol, port, end in rule.get("services", ()):
            service = out.services.add(protocol=protocol)
            if isinstance(port, str):
                service.port.type, service.port.strVal = 1, port
            elif port is not None:
                service.port.type, service.port.intVal = 0, port
            if end is not None:
                service.endPort = end
    return message.SerializeToString()


def frame(event: str, kind: str, message: bytes) -> bytes:
    return watch_frame(event, wrap(API, kind, message))


def added(kind: Kind, message: bytes) -> bytes:
    return frame("ADDED", kind.singular, message)


def deleted(kind: Kind, name: str, version: str = "") -> bytes:
    message = pb.AddressGroup()  # metadata is the first field of all kinds
    message.metadata.name, message.metadata.resourceVersion = name, version
    return frame("DELETED", kind.singular, message.SerializeToString())


def bookmark(version: str, kind: Kind = Kind.NETWORK_POLICY) -> bytes:
    message = pb.AddressGroup()
    message.metadata.resourceVersion = version
    return frame("BOOKMARK", kind.singular, message.SerializeToString())


def marker(namespace: str, name: str, uid: str) -> bytes:
    message = pb.AddressGroup()
    message.metadata.namespace, message.metadata.name, message.metadata.uid = namespace, name, uid
    return watch_frame("MARKER", wrap("meta.k8s.io/v1", "PartialObjectMetadata", message.SerializeToString()))


def error(code: int, text: str) -> bytes:
    """An ERROR event with a Status."""
    from apis.meta import v1_pb2

    status = v1_pb2.Status(status="Failure", message=text, code=code)
    return watch_frame("ERROR", wrap("v1", "Status", status.SerializeToString()))


def oversized(length: int) -> bytes:
    return length.to_bytes(4, "big") + varint(1)


def snapshot_stream(*kinds: Kind) -> WatchStream:
    return WatchStream(kinds or Kind)


# --- the two evaluators ---


@dataclass(frozen=True)
class Probe:
    """A packet: from an address, to an address, as a new connection."""

    source: IPAddress
    destination: IPAddress
    protocol: str
    port: int


def allowed_by_rules(
    rules: Iterable[PolicyRule], local: Iterable[PodInterface], probe: Probe, direction: Direction
) -> bool:
    """What the datapath does with the probe in one direction at the local pod that it concerns."""
    pods = {ip: interface for interface in local for ip in interface.ips}
    subject = probe.destination if direction is Direction.INGRESS else probe.source
    if subject not in pods:
        return True
    port = OFPort(pods[subject].ofport)
    relevant = [rule for rule in rules if rule.direction is direction]
    for rule in relevant:
        if rule.action is not Action.ALLOW:
            continue
        if not _matches(rule.sources, probe.source, port if direction is Direction.EGRESS else None):
            continue
        if not _matches(
            rule.destinations, probe.destination, port if direction is Direction.INGRESS else None
        ):
            continue
        if not rule.services or any(_serves(service, probe) for service in rule.services):
            return True
    return not any(_matches(rule.isolated, subject, port) for rule in relevant)


def _matches(addresses: Iterable[Address], ip: IPAddress, port: OFPort | None) -> bool:
    for address in addresses:
        if isinstance(address, OFPort):
            if address == port:
                return True
        elif isinstance(address, ipaddress.IPv4Network | ipaddress.IPv6Network):
            if ip.version == address.version and ip in address:
                return True
        elif address == ip:
            return True
    return False


def _serves(service: ServicePort, probe: Probe) -> bool:
    if service.protocol is not None and service.protocol != probe.protocol:
        return False
    if service.port is None:
        return True
    return service.port <= probe.port <= (service.end_port or service.port)


def allowed_by_documents(
    documents: Documents, local: Iterable[PodInterface], probe: Probe, direction: Direction
) -> bool:
    """The same question answered from the JSON documents by reading Kubernetes' semantics off them."""
    pods = {ip: interface.key for interface in local for ip in interface.ips}
    subject = probe.destination if direction is Direction.INGRESS else probe.source
    peer_ip = probe.source if direction is Direction.INGRESS else probe.destination
    if subject not in pods:
        return True
    isolated = False
    for policy in documents.objects[Kind.NETWORK_POLICY].values():
        for rule in policy.get("rules", ()):
            if rule["direction"] != direction.value:
                continue
            targets = [
                member
                for name in rule.get("appliedToGroups") or policy.get("appliedToGroups", ())
                for member in documents.objects[Kind.APPLIED_TO_GROUP].get(name, {}).get("groupMembers", ())
                if (member["pod"]["namespace"], member["pod"]["name"]) == pods[subject]
            ]
            if not targets:
                continue
            isolated = True
            if _document_rule_allows(documents, rule, targets[0], peer_ip, probe, direction):
                return True
    return not isolated


def _document_rule_allows(
    documents: Documents,
    rule: dict[str, Any],
    target: dict[str, Any],
    peer_ip: IPAddress,
    probe: Probe,
    direction: Direction,
) -> bool:
    peer = rule["from" if direction is Direction.INGRESS else "to"]
    members = [
        member
        for name in peer.get("addressGroups", ())
        for member in documents.objects[Kind.ADDRESS_GROUP][name].get("groupMembers", ())
        if peer_ip in _addresses(member)
    ]
    in_block = any(
        _in_net(peer_ip, block["cidr"])
        and not any(_in_net(peer_ip, hole) for hole in block.get("except", ()))
        for block in peer.get("ipBlocks", ())
    )
    if not members and not in_block:
        return False
    if not rule.get("services"):
        return True
    for service in rule["services"]:
        if service.get("protocol", "TCP") != probe.protocol:
            continue
        port = service.get("port")
        if port is None:
            return True
        if isinstance(port, int):
            if port <= probe.port <= service.get("endPort", port):
                return True
            continue
        bearers = [target] if direction is Direction.INGRESS else members
        for bearer in bearers:
            numbers = [
                named["port"]
                for named in bearer.get("ports", ())
                if named["name"] == port and named.get("protocol", "TCP") == probe.protocol
            ]
            if numbers[:1] == [probe.port]:
                return True
    return False


def _addresses(member: dict[str, Any]) -> list[IPAddress]:
    return [_unmap(base64.b64decode(ip)) for ip in member.get("ips", ())]


def _unmap(raw: bytes) -> IPAddress:
    address = ipaddress.ip_address(raw)
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if mapped is not None else address


def _in_net(ip: IPAddress, net: dict[str, Any]) -> bool:
    base = _unmap(base64.b64decode(net["ip"]))
    if base.version != ip.version:
        return False
    shift = base.max_prefixlen - int(net.get("prefixLength", 0))
    return int(base) >> shift == int(ip) >> shift


def document_of(kind: Kind, message: bytes) -> dict[str, Any]:
    """The JSON form of a message, written here by hand so that it does not depend on the code under test."""
    if kind is Kind.NETWORK_POLICY:
        policy = pb.NetworkPolicy.FromString(message)
        return {
            "kind": kind.singular,
            "metadata": {"name": policy.metadata.name},
            "appliedToGroups": list(policy.appliedToGroups),
            "rules": [
                {
                    "direction": rule.direction,
                    "from": _peer_document(getattr(rule, "from")),
                    "to": _peer_document(rule.to),
                    "services": [_service_document(service) for service in rule.services],
                }
                for rule in policy.rules
            ],
        }
    group = pb.AddressGroup.FromString(message)
    return {
        "kind": kind.singular,
        "metadata": {"name": group.metadata.name},
        "groupMembers": [_member_document(member) for member in group.groupMembers],
    }


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _member_document(member: pb.GroupMember) -> dict[str, Any]:
    return {
        "pod": {"namespace": member.pod.namespace, "name": member.pod.name},
        "ips": [_b64(ip) for ip in member.ips],
        "ports": [{"name": p.name, "port": p.port, "protocol": p.protocol} for p in member.ports],
    }


def _peer_document(peer: pb.NetworkPolicyPeer) -> dict[str, Any]:
    return {
        "addressGroups": list(peer.addressGroups),
        "ipBlocks": [
            {
                "cidr": {"ip": _b64(block.cidr.ip), "prefixLength": block.cidr.prefixLength},
                "except": [
                    {"ip": _b64(hole.ip), "prefixLength": hole.prefixLength}
                    for hole in getattr(block, "except")
                ],
            }
            for block in peer.ipBlocks
        ],
    }


def _service_document(service: pb.Service) -> dict[str, Any]:
    document: dict[str, Any] = {"protocol": service.protocol}
    if service.HasField("port"):
        document["port"] = service.port.strVal if service.port.type == 1 else service.port.intVal
    if service.HasField("endPort"):
        document["endPort"] = service.endPort
    return document
