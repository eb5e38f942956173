"""Address groups and applied-to groups, with members kept as they came.

A group can have 100,000 members, of which a node needs little more than the addresses. So a member stays the
bytes of its protobuf message; only its identity and its addresses are cut out of it, and the rest is decoded
for those who ask (named ports, the local API). A patch costs in proportion to the patch, but for copies of
dictionaries that C makes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

import msgspec
from google.protobuf.message import DecodeError

from agent.model import IPAddress
from agent.policies.objects import Member, NamedPort, Policy
from apis import envelope
from apis.controlplane import v1beta2_pb2 as pb
from runtime import log

logger = log.get(__name__)

_V4_MAPPED = b"\0" * 10 + b"\xff\xff"

# Tags of GroupMember's fields: number << 3 | 2.
_IPS, _PORTS, _NODE = 0x1A, 0x22, 0x2A

Counts = dict[IPAddress, int]  # address → how many members have it (for a moment it can be two)


def address(raw: bytes) -> IPAddress:
    """An address of 4 or 16 bytes; IPv4 comes mapped into IPv6 (Go's net.IP). Raises ValueError."""
    if len(raw) == 16:
        if raw.startswith(_V4_MAPPED):
            return ipaddress.IPv4Address(int.from_bytes(raw[12:], "big"))  # faster than from bytes
        return ipaddress.IPv6Address(raw)
    if len(raw) == 4:
        return ipaddress.IPv4Address(raw)
    raise ValueError(f"an address has 4 or 16 bytes, not {len(raw)}")


def split(raw: bytes) -> tuple[bytes, list[IPAddress]]:
    """A member's identity, and its addresses.

    The identity is who it is and its addresses (Antrea: for a Node its addresses alone), not its ports: the
    part of the message before ports and node, because fields stand in the order of their numbers.
    Raises EnvelopeError for bytes that are no message.
    """
    at, end = 0, len(raw)
    ips: list[IPAddress] = []
    while at < end:
        tag = raw[at]
        if tag in (_PORTS, _NODE):
            break
        length, start = raw[at + 1] if at + 1 < end else 0x80, at + 2
        if length >= 0x80:
            length, start = envelope.read_varint(raw, at + 1)
        if tag & 7 != 2 or length > end - start:
            raise envelope.EnvelopeError("a group member is not a valid protobuf message")
        at = start + length
        if tag == _IPS:
            try:
                ips.append(address(raw[start:at]))
            except ValueError as error:
                logger.warning("A group member has an address that is left out: %s", error)
    return raw[:at], ips


def decode(raw: bytes) -> Member:
    """All of a member. One that cannot be read (its names are no text) matches nothing and is logged."""
    try:
        return _decode(pb.GroupMember.FromString(raw))
    except (DecodeError, UnicodeDecodeError) as error:
        logger.warning("A group member cannot be read: %s", error)
        return Member("Unreadable", "", "")


def _decode(message: pb.GroupMember) -> Member:
    if message.HasField("pod"):
        kind, namespace, name = "Pod", message.pod.namespace, message.pod.name
    elif message.HasField("externalEntity"):
        entity = message.externalEntity
        kind, namespace, name = "ExternalEntity", entity.namespace, entity.name
    elif message.HasField("service"):
        kind, namespace, name = "Service", message.service.namespace, message.service.name
    else:
        kind, namespace, name = "Node", "", message.node.name
    ips = tuple(address(ip) for ip in message.ips if len(ip) in (4, 16))
    ports = tuple(NamedPort(port.name, port.protocol or "TCP", port.port) for port in message.ports)
    return Member(kind, namespace, name, ips, ports)


class Group(msgspec.Struct, frozen=True):
    """One version of a group. ``members``: the message of each by its identity."""

    name: str
    uid: str
    members: dict[bytes, bytes]
    addresses: dict[int, Counts]  # by address family

    def decoded(self) -> Iterator[Member]:
        return map(decode, self.members.values())


class GroupPatch(msgspec.Struct, frozen=True):
    """What was added to a group and removed from it since the last event on it, as messages."""

    name: str
    added: tuple[bytes, ...]
    removed: tuple[bytes, ...]


Object = Group | Policy


def make(name: str, uid: str, members: Iterable[bytes]) -> Group:
    """A group from its members' messages. Raises EnvelopeError."""
    group = Group(name, uid, {}, {4: {}, 6: {}})
    for raw in members:
        _insert(group, raw)
    return group


def patched(old: Group, patch: GroupPatch) -> Group:
    """The group after the patch: what was added is inserted, then what was removed is taken out."""
    group = Group(
        old.name,
        old.uid,
        dict(old.members),
        {family: dict(counts) for family, counts in old.addresses.items()},
    )
    for raw in patch.added:
        _insert(group, raw)
    for raw in patch.removed:
        key, ips = split(raw)
        if group.members.pop(key, None) is not None:
            for ip in ips:
                counts = group.addresses[ip.version]
                counts[ip] -= 1
                if not counts[ip]:
                    del counts[ip]
    return group


def _insert(group: Group, raw: bytes) -> None:
    key, ips = split(raw)
    if key not in group.members:
        for ip in ips:
            counts = group.addresses[ip.version]
            counts[ip] = counts.get(ip, 0) + 1
    group.members[key] = raw
