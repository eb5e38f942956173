"""Between protobuf bodies of controlplane.antrea.io/v1beta2 and the objects of this package.

What cannot be decoded at all raises WireError, and the stream that carried it starts over. What decodes but
makes no sense in one place (an address of five bytes, a CIDR with prefix 200) is left out there and logged:
it matches nothing, and everything else of the object goes on.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator

from google.protobuf.message import DecodeError, Message

from agent.model import Action, Direction, IPNetwork, PolicyReference
from agent.policies import groups
from agent.policies.groups import Group, GroupPatch
from agent.policies.objects import IPBlock, Kind, Peer, Policy, Rule, Service
from apis import envelope
from apis.controlplane import v1beta2_pb2 as pb
from apis.meta import v1_pb2 as meta_pb
from runtime import log

logger = log.get(__name__)

API_VERSION = "controlplane.antrea.io/v1beta2"


class WireError(ValueError):
    """A body that is not a message of the kind it claims to be."""


def network(net: pb.IPNet) -> IPNetwork:
    """A CIDR; bits right of the prefix are cleared (the controller does not). Raises ValueError."""
    ip = groups.address(net.ip)
    kind = ipaddress.IPv4Network if ip.version == 4 else ipaddress.IPv6Network
    return kind((int(ip), net.prefixLength), strict=False)


def group(kind: Kind, raw: bytes) -> Group:
    """An AddressGroup or AppliedToGroup message. Raises WireError."""
    message = pb.AddressGroup()  # the two have the same shape
    _parse(message, raw, kind.singular)
    try:
        return groups.make(message.metadata.name, message.metadata.uid, _members(raw, 2))
    except envelope.EnvelopeError as error:
        raise WireError(f"A body of kind {kind.singular} cannot be read: {error}.") from error


def group_patch(kind: Kind, raw: bytes) -> GroupPatch:
    """An AddressGroupPatch or AppliedToGroupPatch message. Raises WireError."""
    message = pb.AddressGroupPatch()
    _parse(message, raw, f"{kind.singular}Patch")
    return GroupPatch(message.metadata.name, tuple(_members(raw, 2)), tuple(_members(raw, 3)))


def _members(raw: bytes, wanted: int) -> Iterator[bytes]:
    """The members in a field of a group or a patch, which has been parsed as a whole before."""
    tag = wanted << 3 | 2
    at, end = 0, len(raw)
    while at < end:  # all fields of groups and patches are length-delimited
        found = raw[at]
        length, start = raw[at + 1], at + 2
        if length >= 0x80:
            length, start = envelope.read_varint(raw, at + 1)
        at = start + length
        if found == tag:
            yield raw[start:at]


def metadata(raw: bytes) -> meta_pb.ObjectMeta:
    """The metadata of any object that has them as its first field. Raises WireError."""
    try:
        found = next((value for number, value in envelope.fields(raw) if number == 1), b"")
        return meta_pb.ObjectMeta.FromString(found if isinstance(found, bytes) else b"")
    except (envelope.EnvelopeError, DecodeError) as error:
        raise WireError(f"An object without readable metadata: {error}.") from error


def policy(raw: bytes) -> Policy:
    """A NetworkPolicy message with its rules. Raises WireError."""
    message = pb.NetworkPolicy()
    _parse(message, raw, Kind.NETWORK_POLICY.singular)
    source = message.sourceRef
    reference = PolicyReference(source.type, source.namespace, source.name, source.uid)
    name, uid = message.metadata.name, message.metadata.uid or message.metadata.name
    applied_to = tuple(message.appliedToGroups)
    unsupported = _unsupported(message)
    rules: dict[str, Rule] = {}
    for entry in () if unsupported else message.rules:
        made = _rule(entry, name, uid, reference, applied_to)
        rules[made.id] = made  # a rule written twice in one policy is one rule
    if (
        message.metadata.resourceVersion
    ):  # it changes with every restart of the controller: not part of the object
        message.metadata.resourceVersion = ""
        raw = message.SerializeToString()
    return Policy(
        name=name,
        uid=uid,
        generation=message.metadata.generation,
        reference=reference,
        rules=tuple(rules.values()),
        applied_to=frozenset(applied_to).union(*(rule.applied_to for rule in rules.values())),
        raw=raw,
        unsupported=unsupported,
    )


def group_message(value: Group) -> bytes:
    """The whole group as a message, for the disk and the local API."""
    meta = meta_pb.ObjectMeta(name=value.name)
    if value.uid:
        meta.uid = value.uid
    parts = [envelope.field(1, meta.SerializeToString())]
    parts += [envelope.field(2, member) for member in value.members.values()]
    return b"".join(parts)


def _parse(message: Message, raw: bytes, kind: str) -> None:
    try:
        message.ParseFromString(raw)
    except DecodeError as error:
        raise WireError(f"A body of kind {kind} is not a valid protobuf message: {error}.") from error


def _unsupported(message: pb.NetworkPolicy) -> str:
    kind = message.sourceRef.type
    if kind != "K8sNetworkPolicy":
        return f"Policies of type {kind or '(none)'} are not enforced by this version of antrea-py."
    for entry in message.rules:
        for peer in (entry.to, getattr(entry, "from")):
            if peer.fqdns or peer.toServices or peer.labelIdentities:
                return "The policy has a peer that a K8sNetworkPolicy cannot have (fqdn, toServices …)."
        if entry.direction not in ("In", "Out"):
            return f"The policy has a rule of the unknown direction {entry.direction!r}."
    return ""


def _rule(
    entry: pb.NetworkPolicyRule, name: str, uid: str, reference: PolicyReference, applied_to: tuple[str, ...]
) -> Rule:
    direction = Direction(entry.direction)
    peer = _peer(entry.to if direction is Direction.EGRESS else getattr(entry, "from"), reference)
    services = tuple(dict.fromkeys(_service(service) for service in entry.services))
    action = Action(entry.action) if entry.action in _ACTIONS else None
    if action is None and not peer.is_empty:
        action = Action.ALLOW  # no action means Allow; with an empty peer it is the synthetic deny rule
    per_rule = tuple(entry.appliedToGroups)
    content = (direction.value, peer, services, action, per_rule, entry.enableLogging, entry.name)
    return Rule(
        id=f"{uid}/{direction.value}/{_digest(content)}",
        policy_name=name,
        policy=reference,
        direction=direction,
        peer=peer,
        services=services,
        action=action,
        applied_to=per_rule or applied_to,
        enable_logging=entry.enableLogging,
        name=entry.name,
    )


_ACTIONS = frozenset(action.value for action in Action)


def _digest(content: object) -> str:
    """Twelve hex digits of a rule's content: the same content has the same id after any restart."""
    return hashlib.sha256(repr(content).encode()).hexdigest()[:12]


def _peer(peer: pb.NetworkPolicyPeer, reference: PolicyReference) -> Peer:
    blocks: list[IPBlock] = []
    for block in peer.ipBlocks:
        try:
            excepts: Iterable[pb.IPNet] = getattr(block, "except")
            blocks.append(IPBlock(network(block.cidr), tuple(network(hole) for hole in excepts)))
        except ValueError as error:
            logger.warning("%s has an ipBlock that is left out, it matches nothing: %s", reference, error)
    return Peer(tuple(sorted(peer.addressGroups)), tuple(blocks))


def _service(service: pb.Service) -> Service:
    port: int | str | None = None
    if service.HasField("port"):
        port = service.port.strVal if service.port.type == 1 else service.port.intVal
    return Service(
        protocol=service.protocol or "TCP",
        port=port,
        end_port=service.endPort if service.HasField("endPort") else None,
    )
