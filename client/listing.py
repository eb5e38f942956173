"""Cutting a list into its objects while it arrives.

A whole list is one JSON text of any size (100,000 Pods: 400 MB). It is never held: pieces are decoded as raw
objects as soon as they are complete, and the text before them is forgotten.
"""

from __future__ import annotations

import re

import msgspec

PIECE = 1 << 20  # bytes of objects handed over at a time
_ITEMS = b'"items":['
_FIRST_KEY = re.compile(rb'\{"[^"\\]*":')
_ATTEMPTS = 8


class ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class RawList(msgspec.Struct):
    """A list with its objects as raw JSON."""

    metadata: ListMeta = msgspec.field(default_factory=ListMeta)
    items: list[msgspec.Raw] | None = None


decode_list = msgspec.json.Decoder(RawList).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


class ListSplitter:
    """Feed it the text as it comes; ``finish`` at its end.

    All objects of a list begin with the same key, so the places where one may end and the next begin are
    quickly found. Whether it is such a place is not guessed: what is before it has to be valid JSON, which it
    is not inside of an object. Text without such places (indented, say) is decoded at its end.
    """

    def __init__(self, piece: int = PIECE) -> None:
        self._piece = piece
        self._due = piece  # bytes from which on a look at the buffer is worth while
        self._buffer = bytearray()
        self._head: bytes | None = None  # everything up to the first object
        self._mark: bytes | None = None

    def feed(self, data: bytes) -> list[msgspec.Raw]:
        """The objects that are complete now and were not handed over before; often none."""
        self._buffer += data
        if len(self._buffer) < self._due:
            return []
        if self._head is None and not self._find_head():
            return self._later()
        mark = self._mark
        if mark is None:
            return self._later()
        end = self._buffer.rfind(mark)
        for _ in range(_ATTEMPTS):
            if end < 0:
                break
            try:
                items = _decode_items(b"[" + self._buffer[: end + 1] + b"]")
            except msgspec.DecodeError:  # inside an object that holds others which begin alike
                end = self._buffer.rfind(mark, 0, end)
                continue
            del self._buffer[: end + 2]
            self._due = self._piece
            return items
        return self._later()

    def _find_head(self) -> bool:
        at = self._buffer.find(_ITEMS)
        if at < 0:
            return False
        self._head = bytes(self._buffer[: at + len(_ITEMS)])
        del self._buffer[: at + len(_ITEMS)]
        first = _FIRST_KEY.match(self._buffer)
        if first is not None:
            self._mark = b"}," + first[0]
        return True

    def _later(self) -> list[msgspec.Raw]:
        self._due = 2 * len(self._buffer)
        return []

    def finish(self) -> RawList:
        """The rest of the objects, and the list's metadata. Raises DecodeError, UnicodeDecodeError."""
        return decode_list((self._head or b"") + self._buffer)
