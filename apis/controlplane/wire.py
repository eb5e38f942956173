"""controlplane.antrea.io/v1beta2 written by hand: the few messages that the controller makes by the 100,000.

Building a protobuf message in Python costs about 25 times as much as joining encoded bytes, so
group members and policy bodies are made here once and kept as bytes. The rules are those of Kubernetes'
generated marshallers (Antrea v2.7): scalars and structs that are no pointers are always written, also when
empty; pointers only when set; fields in the order of their numbers; negative int32 as ten bytes.

Functions are named after the message they make. Those that end in ``_field`` return the message with the tag
and length it has inside its parent, so that parents are plain concatenations.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from apis.addresses import CIDR

_SHORT: Final = tuple(bytes((length,)) for length in range(128))


def varint(value: int) -> bytes:
    """A protobuf varint; negative numbers are sign-extended to 64 bits."""
    if 0 <= value < 128:
        return _SHORT[value]
    if 0 <= value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _length(payload: bytes) -> bytes:
    length = len(payload)
    return _SHORT[length] if length < 128 else varint(length)


def delimited(tag: bytes, payload: bytes) -> bytes:
    """A length-delimited field: strings, bytes and messages. ``tag`` is number << 3 | 2."""
    length = len(payload)
    return tag + (_SHORT[length] if length < 128 else varint(length)) + payload


def metadata_field(name: bytes, uid: bytes, version: str, generation: int = 0) -> bytes:
    """``metadata`` (field 1) of any object here: all are cluster-scoped and have no other metadata."""
    number = version.encode()
    payload = b"".join(
        (
            b"\x0a",
            _length(name),
            name,
            b"\x12\x00\x1a\x00\x22\x00\x2a",
            _length(uid),
            uid,
            b"\x32",
            _length(number),
            number,
            b"\x38",
            varint(generation),
            b"\x42\x00",  # creationTimestamp: the zero time is an empty message
        )
    )
    return b"\x0a" + _length(payload) + payload


# --- groups ---------------------------------------------------------------------------------------------

MEMBER_TAG: Final = b"\x12"  # groupMembers of a group, addedGroupMembers of a patch
REMOVED_TAG: Final = b"\x1a"  # removedGroupMembers of a patch


def namespace_field(namespace: str) -> bytes:
    """``namespace`` (field 2) of a PodReference; the same for all pods of a namespace, so callers keep it."""
    return delimited(b"\x12", namespace.encode())


def pod_field(name: str, namespace: bytes) -> bytes:
    """``pod`` (field 1) of a member. ``namespace`` comes from `namespace_field`."""
    raw = name.encode()
    length = len(raw)
    reference = b"\x0a" + (_SHORT[length] if length < 128 else varint(length)) + raw + namespace
    length = len(reference)
    return b"\x0a" + (_SHORT[length] if length < 128 else varint(length)) + reference


def ip_field(address: bytes) -> bytes:
    """One of ``ips`` (field 3) of a member."""
    return b"\x1a\x10" + address if len(address) == 16 else delimited(b"\x1a", address)


def port_field(port: int, name: str, protocol: str) -> bytes:
    """One of ``ports`` (field 4, NamedPort) of a member."""
    return delimited(
        b"\x22",
        b"\x08" + varint(port) + delimited(b"\x12", name.encode()) + delimited(b"\x1a", protocol.encode()),
    )


def member_field(member: bytes) -> bytes:
    """A member (its fields joined) as it stands in a group or as an added member in a patch."""
    length = len(member)
    return b"\x12" + (_SHORT[length] if length < 128 else varint(length)) + member


# --- policies -------------------------------------------------------------------------------------------


def ip_net(cidr: CIDR) -> bytes:
    return delimited(b"\x0a", cidr.address) + b"\x10" + varint(cidr.prefix_length)


def ip_block(cidr: CIDR, excepted: Iterable[CIDR] = ()) -> bytes:
    return delimited(b"\x0a", ip_net(cidr)) + b"".join(delimited(b"\x12", ip_net(each)) for each in excepted)


def peer(address_groups: Iterable[str] = (), ip_blocks: Iterable[bytes] = ()) -> bytes:
    """NetworkPolicyPeer; ``ip_blocks`` come from `ip_block`."""
    return b"".join(
        [delimited(b"\x0a", name.encode()) for name in address_groups]
        + [delimited(b"\x12", block) for block in ip_blocks]
    )


def int_or_string(value: int | str) -> bytes:
    """All three fields are always written: type, number, text."""
    if isinstance(value, str):
        return b"\x08\x01\x10\x00" + delimited(b"\x1a", value.encode())
    return b"\x08\x00\x10" + varint(value) + b"\x1a\x00"


def service(protocol: str | None, port: int | str | None = None, end_port: int | None = None) -> bytes:
    """Service. ``groupAddress`` (field 7) is no pointer and therefore always there."""
    parts = []
    if protocol is not None:
        parts.append(delimited(b"\x0a", protocol.encode()))
    if port is not None:
        parts.append(delimited(b"\x12", int_or_string(port)))
    if end_port is not None:
        parts.append(b"\x18" + varint(end_port))
    parts.append(b"\x3a\x00")
    return b"".join(parts)


def rule_field(
    direction: str,
    peers: bytes,
    services: Iterable[bytes],
    priority: int,
    action: str | None,
    enable_logging: bool,
) -> bytes:
    """One of ``rules`` (field 2) of a policy. ``peers`` (from `peer`) is what the other side may be."""
    ingress = direction == "In"
    parts = [
        b"\x0a",
        _SHORT[len(direction)],
        direction.encode(),
        delimited(b"\x12", peers if ingress else b""),
        delimited(b"\x1a", b"" if ingress else peers),
    ]
    parts.extend(delimited(b"\x22", each) for each in services)
    parts.append(b"\x28" + varint(priority))
    if action is not None:
        parts.append(delimited(b"\x32", action.encode()))
    parts.append(b"\x38\x01" if enable_logging else b"\x38\x00")
    parts.append(b"\x4a\x00\x5a\x00")  # name and logLabel are no pointers
    return delimited(b"\x12", b"".join(parts))


def applied_to_field(name: str) -> bytes:
    """One of ``appliedToGroups`` (field 3) of a policy."""
    return delimited(b"\x1a", name.encode())


def source_field(kind: bytes, namespace: bytes, name: str, uid: str) -> bytes:
    """``sourceRef`` (field 6) of a policy: the object that the user wrote.

    ``namespace`` comes from `namespace_field`, which has the same number in this message.
    """
    raw_name, raw_uid = name.encode(), uid.encode()
    return delimited(
        b"\x32",
        b"".join(
            (
                b"\x0a",
                _length(kind),
                kind,
                namespace,
                b"\x1a",
                _length(raw_name),
                raw_name,
                b"\x22",
                _length(raw_uid),
                raw_uid,
            )
        ),
    )


# --- reading our own bytes ------------------------------------------------------------------------------


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The varint at ``position`` and the position after it."""
    value = data[position]
    position += 1
    if value < 0x80:
        return value, position
    value &= 0x7F
    shift = 7
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def with_logging(body: bytes, enabled: bool) -> bytes:
    """A policy's body with ``enableLogging`` of all its rules set.

    Rules made by `rule_field` end with enableLogging, an empty name and an empty logLabel, two bytes each,
    and they are the body's first fields.
    """
    changed = bytearray(body)
    position = 0
    while position < len(body) and body[position] == 0x12:
        length, start = read_varint(body, position + 1)
        position = start + length
        changed[position - 5] = enabled
    return bytes(changed)


def member_identity(member: bytes) -> bytes:
    """What tells an encoded member (from `member_field`) from others: all of it but its ports."""
    _, position = read_varint(member, 1)
    parts = []
    while position < len(member):
        length, start = read_varint(member, position + 1)
        if member[position] != 0x22:
            parts.append(member[position : start + length])
        position = start + length
    return b"".join(parts)
