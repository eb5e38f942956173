"""Bytes in JSON: base64, with Go's word on where it is broken."""

from __future__ import annotations

import base64
import string
from typing import Final

from apis.gojson.errors import GoJSONError

_ALPHABET: Final = frozenset(string.ascii_letters + string.digits + "+/")
_NEWLINES: Final = str.maketrans("", "", "\r\n")


def decode_base64(text: str) -> bytes:
    """Standard alphabet, with padding; line ends do not count. Raises GoJSONError."""
    broken = _broken(text)
    if broken is not None:
        raise GoJSONError(f"illegal base64 data at input byte {broken}")
    return base64.b64decode(text.translate(_NEWLINES))


def _broken(text: str) -> int | None:
    """The offset, in bytes of UTF-8, that Go reports; None for good text."""
    held = 0  # characters of a group of four so far
    length = len(text.encode())
    offset = 0
    characters = iter(text)
    for character in characters:
        if character in "\r\n":
            offset += 1
            continue
        if character == "=":
            if held < 2:
                return offset
            rest = text[offset + 1 :].lstrip("\r\n")  # all before the padding is ASCII
            if held == 2:
                if not rest:
                    return length
                if rest[0] != "=":
                    return length - len(rest.encode()) - 1
                rest = rest[1:].lstrip("\r\n")
            return length - len(rest.encode()) if rest else None
        if character not in _ALPHABET:
            return offset
        held = (held + 1) % 4
        offset += 1
    return length - held if held else None
