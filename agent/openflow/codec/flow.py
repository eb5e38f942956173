"""A flow: what makes it that flow (table, priority, match) and what it does (cookie, instructions)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from agent.openflow.codec import match as m
from agent.openflow.codec import text
from agent.openflow.codec.actions import CONJUNCTION_HEAD, apply
from agent.openflow.codec.errors import CodecError

_KEY = struct.Struct("!BH")
KEY_LENGTH = _KEY.size

_ONE_CONJUNCTION = apply(CONJUNCTION_HEAD + bytes(6))[:18]
_APPLY = _ONE_CONJUNCTION[:2]


class Flow:
    """A flow without time-outs.

    ``key``: table (1 byte), priority (2), match as codec.match builds it. Two flows with one key cannot be
    in a switch at the same time. ``body``: instructions as on the wire; empty drops the packet.
    """

    __slots__ = ("body", "cookie", "key")

    def __init__(self, key: bytes, cookie: int, body: bytes) -> None:
        self.key = key
        self.cookie = cookie
        self.body = body

    @classmethod
    def of(cls, table: int, priority: int, match: bytes, body: bytes = b"", cookie: int = 0) -> Flow:
        return cls(_KEY.pack(table, priority) + match, cookie, body)

    @property
    def table(self) -> int:
        return self.key[0]

    @property
    def priority(self) -> int:
        return self.key[1] << 8 | self.key[2]

    @property
    def match(self) -> bytes:
        return self.key[KEY_LENGTH:]

    def same_as(self, other: Flow) -> bool:
        """Whether both say the same, even if a switch wrote one of them that encodes some things otherwise.
        What cannot be read is not the same."""
        if self.cookie != other.cookie or self.key[:KEY_LENGTH] != other.key[:KEY_LENGTH]:
            return False
        try:
            same_match = self.key == other.key or m.canonical(self.match) == m.canonical(other.match)
            return same_match and (
                self.body == other.body
                or text.format_instructions(self.body) == text.format_instructions(other.body)
            )
        except CodecError:
            return False

    def format(
        self, tables: Mapping[int, str] | None = None, ports: Mapping[int, str] | None = None, stats: str = ""
    ) -> str:
        """The line that ``ovs-ofctl -O OpenFlow15 --no-stats [--names] dump-flows`` prints for this flow."""
        return text.format_flow(
            self.cookie, self.table, self.priority, self.match, self.body, tables, ports, stats
        )

    def __str__(self) -> str:
        return self.format()

    def __repr__(self) -> str:
        try:
            return f"<Flow{self.format()}>"
        except CodecError as error:
            return f"<Flow that cannot be printed: {error}>"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Flow)
            and self.key == other.key
            and self.body == other.body
            and self.cookie == other.cookie
        )

    def __hash__(self) -> int:
        return hash((self.key, self.body))


def conjunctions(body: bytes) -> list[bytes] | None:
    """The conjunction actions of a flow, or None for a flow that does anything else."""
    if len(body) == 24 and body[:18] == _ONE_CONJUNCTION:
        return [body[8:]]
    if len(body) < 24 or len(body) % 16 != 8 or body[:2] != _APPLY:
        return None
    found = [body[offset : offset + 16] for offset in range(8, len(body), 16)]
    return found if all(action[:10] == CONJUNCTION_HEAD for action in found) else None


def join_conjunctions(ordered: Sequence[bytes]) -> bytes:
    """The body of a flow that is a clause of several conjunctions. Give the actions in the order of their
    bytes, so that equal sets are equal bodies."""
    return apply(b"".join(ordered))
