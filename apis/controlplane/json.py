"""From the bytes that apis.controlplane.wire makes to the JSON text of the same objects.

Only protobuf is kept in memory. JSON is for people and for generic clients, so it is made when somebody asks,
by a reader that knows the few messages of policies and groups from the tables below. It reads our own bytes
only; what comes from outside goes through the generated messages.
"""

from __future__ import annotations

import base64
from collections.abc import Generator, Iterable
from itertools import islice
from typing import Any, Final

import msgspec

from apis.controlplane.wire import read_varint

_OMIT, _ALWAYS = False, True

# message -> field number -> (JSON name, type, repeated, present when empty). Types in lower case are scalars.
_Field = tuple[str, str, bool, bool]
_REFERENCE: Final[dict[int, _Field]] = {
    1: ("name", "string", False, _OMIT),
    2: ("namespace", "string", False, _OMIT),
}
_GROUP: Final[dict[int, _Field]] = {
    1: ("metadata", "ObjectMeta", False, _ALWAYS),
    2: ("groupMembers", "GroupMember", True, _OMIT),
}
_PATCH: Final[dict[int, _Field]] = {
    1: ("metadata", "ObjectMeta", False, _ALWAYS),
    2: ("addedGroupMembers", "GroupMember", True, _OMIT),
    3: ("removedGroupMembers", "GroupMember", True, _OMIT),
}
_MESSAGES: Final[dict[str, dict[int, _Field]]] = {
    "ObjectMeta": {
        1: ("name", "string", False, _OMIT),
        5: ("uid", "string", False, _OMIT),
        6: ("resourceVersion", "string", False, _OMIT),
        7: ("generation", "int", False, _OMIT),
    },
    "AddressGroup": _GROUP,
    "AppliedToGroup": _GROUP,
    "AddressGroupPatch": _PATCH,
    "AppliedToGroupPatch": _PATCH,
    "GroupMember": {
        1: ("pod", "Reference", False, _OMIT),
        2: ("externalEntity", "Reference", False, _OMIT),
        3: ("ips", "bytes", True, _OMIT),
        4: ("ports", "NamedPort", True, _OMIT),
        5: ("node", "Reference", False, _OMIT),
        6: ("service", "Reference", False, _OMIT),
    },
    "Reference": _REFERENCE,
    "NamedPort": {
        1: ("port", "int", False, _OMIT),
        2: ("name", "string", False, _OMIT),
        3: ("protocol", "string", False, _OMIT),
    },
    "NetworkPolicy": {
        1: ("metadata", "ObjectMeta", False, _ALWAYS),
        2: ("rules", "NetworkPolicyRule", True, _OMIT),
        3: ("appliedToGroups", "string", True, _OMIT),
        6: ("sourceRef", "NetworkPolicyReference", False, _OMIT),
    },
    "NetworkPolicyReference": {
        1: ("type", "string", False, _OMIT),
        2: ("namespace", "string", False, _OMIT),
        3: ("name", "string", False, _OMIT),
        4: ("uid", "string", False, _OMIT),
    },
    "NetworkPolicyRule": {
        1: ("direction", "string", False, _OMIT),
        2: ("from", "NetworkPolicyPeer", False, _ALWAYS),
        3: ("to", "NetworkPolicyPeer", False, _ALWAYS),
        4: ("services", "Service", True, _OMIT),
        5: ("priority", "int", False, _OMIT),
        6: ("action", "string", False, _OMIT),
        7: ("enableLogging", "bool", False, _ALWAYS),
        9: ("name", "string", False, _OMIT),
        11: ("logLabel", "string", False, _OMIT),
    },
    "NetworkPolicyPeer": {
        1: ("addressGroups", "string", True, _OMIT),
        2: ("ipBlocks", "IPBlock", True, _OMIT),
    },
    "IPBlock": {1: ("cidr", "IPNet", False, _ALWAYS), 2: ("except", "IPNet", True, _OMIT)},
    "IPNet": {1: ("ip", "bytes", False, _OMIT), 2: ("prefixLength", "int", False, _OMIT)},
    "Service": {
        1: ("protocol", "string", False, _ALWAYS),
        2: ("port", "IntOrString", False, _ALWAYS),
        3: ("endPort", "int", False, _ALWAYS),
        7: ("groupAddress", "string", False, _OMIT),
    },
}
_INT_OR_STRING: Final[dict[int, _Field]] = {
    1: ("type", "int", False, _ALWAYS),
    2: ("number", "int", False, _ALWAYS),
    3: ("text", "string", False, _ALWAYS),
}


def _read(fields: dict[int, _Field], data: bytes) -> dict[str, Any]:
    """One message as a JSON-ready dictionary, in the order of its fields. Unknown fields are left out."""
    result: dict[str, Any] = {}
    position, end = 0, len(data)
    while position < end:
        key, position = read_varint(data, position)
        number, wire_type = key >> 3, key & 7
        value: Any
        if wire_type == 0:
            value, position = read_varint(data, position)
        else:
            length, position = read_varint(data, position)
            value = data[position : position + length]
            position += length
        field = fields.get(number)
        if field is None:
            continue
        name, kind, repeated, always = field
        if kind == "string":
            value = value.decode()
        elif kind == "bytes":
            value = base64.b64encode(value).decode()
        elif kind == "int":
            value = value - (1 << 64) if value >> 63 else value
        elif kind == "bool":
            value = bool(value)
        elif kind == "IntOrString":
            both = _read(_INT_OR_STRING, value)
            value = both["text"] if both["type"] else both["number"]
        else:
            value = _read(_MESSAGES[kind], value)
        if repeated:
            result.setdefault(name, []).append(value)
        elif value or always:
            result[name] = value
    return result


def to_json(kind: str, message: bytes) -> bytes:
    """The JSON text of a message that apis.controlplane.wire made, without kind and apiVersion."""
    return msgspec.json.encode(_read(_MESSAGES[kind], message))


SLICE = 512
"""Fields (members of a group) that `to_json_in_steps` turns into text at a time: some milliseconds."""


def to_json_in_steps(kind: str, fields: Iterable[bytes]) -> Generator[None, None, bytes]:
    """The same of a group or a patch, given as its encoded fields: yields after every few of them."""
    shapes = _MESSAGES[kind]
    repeated = {name for name, _, many, _ in shapes.values() if many}
    texts: dict[str, list[bytes]] = {}
    iterator = iter(fields)
    while part := list(islice(iterator, SLICE)):
        for name, value in _read(shapes, b"".join(part)).items():
            text = msgspec.json.encode(value)
            texts.setdefault(name, []).append(text[1:-1] if name in repeated else text)
        yield
    parts: list[bytes] = []
    for name, each in texts.items():
        left, right = (b"[", b"]") if name in repeated else (b"", b"")
        parts += (b",", f'"{name}":'.encode(), left, each[0])
        for text in each[1:]:
            parts += (b",", text)
        parts.append(right)
    parts[:1] = [b"{"]
    parts.append(b"}")
    return b"".join(parts)
