"""The one exception of this package, and OpenFlow's error codes as words."""

from __future__ import annotations


class CodecError(ValueError):
    """Bytes that are not OpenFlow 1.5, or values that do not fit into it. The message says which and
    where."""


_TYPES = {
    0: "hello failed",
    1: "bad request",
    2: "bad action",
    3: "bad instruction",
    4: "bad match",
    5: "flow-mod failed",
    6: "group-mod failed",
    7: "port-mod failed",
    8: "table-mod failed",
    9: "queue operation failed",
    10: "switch configuration failed",
    11: "role request failed",
    12: "meter-mod failed",
    13: "table features failed",
    17: "bundle failed",
    18: "flow monitor failed",
    0xFFFF: "experimenter error",
}

_CODES = {
    (1, 0): "wrong version",
    (1, 1): "unknown message type",
    (1, 2): "unknown multipart type",
    (1, 3): "unknown experimenter",
    (1, 4): "unknown experimenter type",
    (1, 5): "not permitted",
    (1, 6): "wrong length",
    (1, 9): "no such table",
    (1, 13): "multipart buffer overflow",
    (2, 0): "unknown action type",
    (2, 1): "wrong action length",
    (2, 4): "bad output port",
    (2, 5): "bad argument",
    (2, 9): "no such group",
    (2, 10): "the match lacks what the action needs",
    (2, 13): "bad field in set_field",
    (2, 16): "bad mask in set_field",
    (3, 0): "unknown instruction",
    (3, 1): "instruction not supported in this table",
    (3, 2): "no such table to go to, or it lies before this one",
    (4, 0): "unknown match type",
    (4, 1): "wrong match length",
    (4, 6): "unknown field",
    (4, 7): "impossible value",
    (4, 8): "this mask is not supported",
    (4, 9): "a prerequisite of a field is missing",
    (4, 10): "duplicate field",
    (5, 1): "the table is full",
    (5, 2): "no such table",
    (5, 3): "overlaps with another flow",
    (5, 6): "unknown command",
    (6, 0): "a group with this id exists already",
    (6, 1): "invalid group",
    (6, 8): "no such group",
    (12, 1): "a meter with this id exists already",
    (12, 2): "invalid meter",
    (12, 3): "no such meter",
    (17, 4): "no such bundle",
    (17, 7): "flags differ from those the bundle was opened with",
    (17, 9): "the inner xid differs from the outer one",
    (17, 10): "this message type may not stand in a bundle",
    (17, 13): "a message of the bundle failed, nothing was applied",
}


def describe(kind: int, code: int) -> str:
    """The words for an OFPT_ERROR, with its numbers for whoever looks them up in the standard."""
    words = _TYPES.get(kind, "unknown error")
    detail = _CODES.get((kind, code))
    return f"{words}: {detail} ({kind},{code})" if detail else f"{words} ({kind},{code})"
