"""Between protobuf messages and the JSON form of Kubernetes objects, driven by the message descriptors.

Kubernetes' protobuf and JSON come from the same Go types, so three questions decide each field:

- is it a pointer (or a slice)? Then it is written only when set, and a zero that is set is kept;
- otherwise protobuf always writes it, and
- JSON omits it when it is zero ("omitempty") unless the field is in ``always``.

``Rules`` answers them per ``Message.field``. Times, IntOrString, FieldsV1 and bytes have forms of their own.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from google.protobuf.descriptor import FieldDescriptor as _FieldDescriptor
from google.protobuf.message import DecodeError, Message

Object = dict[str, Any]

# The stubs and the compiled protobuf runtime disagree on the class of descriptors.
FieldDescriptor: Any = _FieldDescriptor


class ConvertError(ValueError):
    """The object does not fit the message; names the field."""


@dataclass(frozen=True)
class Rules:
    """What the descriptors do not say. Entries are ``Message.field``, ``*.field`` stands for any message."""

    pointers: frozenset[str] = frozenset()  # scalars and messages that are Go pointers
    always: frozenset[str] = frozenset()  # in JSON also when empty
    names: dict[str, str] = field(default_factory=dict)  # JSON names that differ
    inlined: frozenset[str] = frozenset()  # messages whose fields stand in the parent in JSON

    def has(self, rules: frozenset[str], descriptor: Any) -> bool:
        name = descriptor.name
        return f"{descriptor.containing_type.name}.{name}" in rules or f"*.{name}" in rules


META_RULES = Rules(
    pointers=frozenset(
        {
            "ObjectMeta.deletionTimestamp",
            "ObjectMeta.deletionGracePeriodSeconds",
            "ListMeta.remainingItemCount",
            "OwnerReference.controller",
            "OwnerReference.blockOwnerDeletion",
            "ManagedFieldsEntry.time",
            "ManagedFieldsEntry.fieldsV1",
            "Status.details",
            "Preconditions.uid",
            "Preconditions.resourceVersion",
            "DeleteOptions.gracePeriodSeconds",
            "DeleteOptions.preconditions",
            "DeleteOptions.orphanDependents",
            "DeleteOptions.propagationPolicy",
            "DeleteOptions.ignoreStoreReadErrorWithClusterBreakingPotential",
            "FieldsV1.Raw",
        }
    ),
    always=frozenset(
        {"OwnerReference.kind", "OwnerReference.name", "OwnerReference.uid", "OwnerReference.apiVersion"}
    ),
)


def merged(first: Rules, second: Rules) -> Rules:
    return Rules(
        first.pointers | second.pointers,
        first.always | second.always,
        {**first.names, **second.names},
        first.inlined | second.inlined,
    )


def time_text(seconds: int, nanos: int = 0) -> str:
    """RFC 3339 in UTC, without fractions as Kubernetes' Time writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time_to_json(message: Any) -> str | None:
    if not message.seconds and not message.nanos:
        return None
    try:
        return time_text(message.seconds)
    except (ValueError, OverflowError, OSError):
        return None


def _int_or_string_to_json(message: Any) -> int | str:
    return str(message.strVal) if message.type == 1 else int(message.intVal)


def _fields_to_json(message: Any) -> Any:
    return json.loads(message.Raw or b"{}")


_TO_JSON: dict[str, Callable[[Any], Any]] = {
    "Time": _time_to_json,
    "IntOrString": _int_or_string_to_json,
    "FieldsV1": _fields_to_json,
}


def to_json(message: Message, rules: Rules = META_RULES) -> Object:
    """The JSON form of a message, without kind and apiVersion, keys in field order."""
    out: Object = {}
    for descriptor in message.DESCRIPTOR.fields:
        name = descriptor.name
        key = rules.names.get(f"{message.DESCRIPTOR.name}.{name}", name)
        value = getattr(message, name)
        always = rules.has(rules.always, descriptor)
        if descriptor.is_repeated:
            if descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry:
                if value:
                    out[key] = dict(value)
            elif value:
                out[key] = [_value_to_json(descriptor, item, rules) for item in value]
            elif always:
                out[key] = []
            continue
        present = message.HasField(name)
        if rules.has(rules.pointers, descriptor):
            if present:
                out[key] = _value_to_json(descriptor, value, rules)
            continue
        if descriptor.type == FieldDescriptor.TYPE_MESSAGE:
            inner = _value_to_json(descriptor, value, rules)
            if rules.has(rules.inlined, descriptor):
                out.update(inner)
            elif inner is not None or always:
                out[key] = inner
        elif value or always or (descriptor.type == FieldDescriptor.TYPE_BYTES and present):
            out[key] = _value_to_json(descriptor, value, rules)
    return out


def _value_to_json(descriptor: Any, value: Any, rules: Rules) -> Any:
    if descriptor.type == FieldDescriptor.TYPE_MESSAGE:
        special = _TO_JSON.get(descriptor.message_type.name)
        return special(value) if special else to_json(value, rules)
    if descriptor.type == FieldDescriptor.TYPE_BYTES:
        return base64.b64encode(value).decode()
    return value


def parse_time(text: str) -> int:
    """Seconds since 1970 of an RFC 3339 time."""
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError) as error:
        raise ConvertError(f"{text!r} is not an RFC 3339 time") from error


def _time_from_json(message: Any, value: Any) -> None:
    if value:
        message.seconds = parse_time(str(value))
        message.nanos = 0


def _int_or_string_from_json(message: Any, value: Any) -> None:
    text = isinstance(value, str)
    message.type = 1 if text else 0
    message.intVal = 0 if text else int(value)
    message.strVal = value if text else ""


def _fields_from_json(message: Any, value: Any) -> None:
    message.Raw = json.dumps(value, separators=(",", ":")).encode()


_FROM_JSON: dict[str, Callable[[Any, Any], None]] = {
    "Time": _time_from_json,
    "IntOrString": _int_or_string_from_json,
    "FieldsV1": _fields_from_json,
}


def from_json(message: Message, document: Object, rules: Rules = META_RULES, path: str = "") -> Message:
    """Fills an empty message from the JSON form; unknown keys are ignored. Raises ConvertError."""
    if not isinstance(document, dict):
        raise ConvertError(f"{path or message.DESCRIPTOR.name} must be an object")
    for descriptor in message.DESCRIPTOR.fields:
        name = descriptor.name
        key = rules.names.get(f"{message.DESCRIPTOR.name}.{name}", name)
        where = f"{path}.{key}" if path else key
        inlined = rules.has(rules.inlined, descriptor)
        value = document if inlined else document.get(key)
        try:
            _set_field(message, descriptor, value, rules, where)
        except ConvertError:
            raise
        except (
            TypeError,
            ValueError,
            OverflowError,
            AttributeError,
            RecursionError,
            binascii.Error,
        ) as error:
            raise ConvertError(f"{where}: {error}") from error
    return message


def _set_field(message: Message, descriptor: Any, value: Any, rules: Rules, where: str) -> None:
    name = descriptor.name
    target = getattr(message, name)
    if descriptor.is_repeated:
        if descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry:
            for key, item in sorted((value or {}).items()):
                target[key] = item
        elif descriptor.type == FieldDescriptor.TYPE_MESSAGE:
            for index, item in enumerate(value or ()):
                _fill(target.add(), item, rules, f"{where}[{index}]")
        else:
            target.extend(_scalar(descriptor, item) for item in value or ())
        return
    if value is None and (
        rules.has(rules.pointers, descriptor) or descriptor.type == FieldDescriptor.TYPE_BYTES
    ):
        return
    if descriptor.type == FieldDescriptor.TYPE_MESSAGE:
        target.SetInParent()
        if value is not None or not _FROM_JSON.get(descriptor.message_type.name):
            _fill(target, value if value is not None else {}, rules, where)
    else:
        setattr(message, name, descriptor.default_value if value is None else _scalar(descriptor, value))


def _fill(message: Message, value: Any, rules: Rules, where: str) -> None:
    special = _FROM_JSON.get(message.DESCRIPTOR.name)
    if special:
        special(message, value)
    else:
        from_json(message, value, rules, where)


def _scalar(descriptor: Any, value: Any) -> Any:
    if descriptor.type == FieldDescriptor.TYPE_BYTES:
        return base64.b64decode(value, validate=True)
    if isinstance(value, bool) and descriptor.type != FieldDescriptor.TYPE_BOOL:
        raise ConvertError(f"{descriptor.name}: {value!r} is not a {descriptor.name}")
    return value


def decode(message: Message, data: bytes) -> Message:
    """Parses bytes into the message; raises ConvertError on anything that is no such message."""
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise ConvertError(f"not a {message.DESCRIPTOR.name} message: {error}") from error
    return message
