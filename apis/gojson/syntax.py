"""What Go says of text that is no JSON: which character it did not expect, and where it stood."""

from __future__ import annotations

import json
import re
from typing import Final

LONGEST: Final = 128 * 1024
"""Bytes of the longest text that is looked through, which takes a second per megabyte or two: strangers send
such texts to webhooks. Where a longer one is wrong, the words of another decoder do."""

_SPACE: Final = b" \t\r\n"
_DEPTH: Final = 10_000
_LITERALS: Final = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}
_PLAIN: Final = re.compile(rb'[^"\\\x00-\x1f]*')
_HEX: Final = b"0123456789abcdefABCDEF"
_DIGITS: Final = b"0123456789"
_END: Final = "unexpected end of JSON input"


class _Problem(Exception):
    pass


def problem(text: bytes) -> str | None:
    """The message for the first character that is wrong, or None when the text is JSON, or too long to be
    looked through."""
    if len(text) > LONGEST:
        return None
    try:
        _Scanner(text).document()
    except _Problem as found:
        return str(found)
    return None


def _quoted(character: int) -> str:
    if character == ord("'"):
        return r"'\''"
    if character == ord('"'):
        return "'\"'"
    if character < 0x20 or 0x7F <= character < 0xA1 or character == 0xAD:
        short = {7: r"\a", 8: r"\b", 9: r"\t", 10: r"\n", 11: r"\v", 12: r"\f", 13: r"\r"}.get(character)
        # Go quotes the byte as the character of that number; those above 0x7f are written as \u00XX.
        long = f"\\u{character:04x}" if character > 0x7F else f"\\x{character:02x}"
        return f"'{short or long}'"
    return "'" + json.dumps(chr(character), ensure_ascii=False)[1:-1] + "'"


class _Scanner:
    """Reads values without recursion: nesting is a stack of closing brackets."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._at = 0

    def _peek(self) -> int:
        if self._at >= len(self._text):
            raise _Problem(_END)
        return self._text[self._at]

    def _wrong(self, where: str) -> _Problem:
        return _Problem(f"invalid character {_quoted(self._peek())} {where}")

    def _skip(self) -> None:
        text, at = self._text, self._at
        while at < len(text) and text[at] in _SPACE:
            at += 1
        self._at = at

    def document(self) -> None:
        stack: list[int] = []
        while True:
            if self._value(stack):
                continue  # a bracket was opened: its first value is next
            while True:  # a value is complete
                self._skip()
                if not stack:
                    if self._at < len(self._text):
                        raise self._wrong("after top-level value")
                    return
                character = self._peek()
                if character == stack[-1]:
                    stack.pop()
                    self._at += 1
                    continue
                inside = stack[-1] == ord("}")
                if character != ord(","):
                    raise self._wrong("after object key:value pair" if inside else "after array element")
                self._at += 1
                if inside:
                    self._key()
                break

    def _value(self, stack: list[int]) -> bool:
        """Read a value. True if it opened a bracket and another value follows."""
        self._skip()
        character = self._peek()
        if character == ord('"'):
            self._string()
        elif character in _LITERALS:
            self._literal(_LITERALS[character])
        elif character == ord("-") or character in _DIGITS:
            self._number()
        elif character in b"{[":
            return self._open(stack, ord("}") if character == ord("{") else ord("]"))
        else:
            raise self._wrong("looking for beginning of value")
        return False

    def _open(self, stack: list[int], closing: int) -> bool:
        self._at += 1
        if len(stack) >= _DEPTH:
            raise _Problem("exceeded max depth")
        self._skip()
        if self._peek() == closing:
            self._at += 1
            return False
        stack.append(closing)
        if closing == ord("}"):
            self._key()
        return True

    def _key(self) -> None:
        self._skip()
        if self._peek() != ord('"'):
            raise self._wrong("looking for beginning of object key string")
        self._string()
        self._skip()
        if self._peek() != ord(":"):
            raise self._wrong("after object key")
        self._at += 1

    def _string(self) -> None:
        self._at += 1
        while True:
            match = _PLAIN.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            character = self._peek()
            if character == ord('"'):
                self._at += 1
                return
            if character != ord("\\"):
                raise self._wrong("in string literal")
            self._at += 1
            if self._peek() == ord("u"):
                for _ in range(4):
                    self._at += 1
                    if self._peek() not in _HEX:
                        raise self._wrong("in \\u hexadecimal character escape")
            elif self._peek() not in b'bfnrt\\/"':
                raise self._wrong("in string escape code")
            self._at += 1

    def _literal(self, word: bytes) -> None:
        for expected in word[1:]:
            self._at += 1
            if self._peek() != expected:
                raise self._wrong(f"in literal {word.decode()} (expecting {_quoted(expected)})")
        self._at += 1

    def _digits(self) -> None:
        while self._at < len(self._text) and self._text[self._at] in _DIGITS:
            self._at += 1

    def _next_is(self, characters: bytes) -> bool:
        return self._at < len(self._text) and self._text[self._at] in characters

    def _number(self) -> None:
        if self._next_is(b"-"):
            self._at += 1
            if self._peek() not in _DIGITS:
                raise self._wrong("in numeric literal")
        if self._next_is(b"0"):
            self._at += 1
        else:
            self._digits()
        if self._next_is(b"."):
            self._at += 1
            if self._peek() not in _DIGITS:
                raise self._wrong("after decimal point in numeric literal")
            self._digits()
        if self._next_is(b"eE"):
            self._at += 1
            if self._next_is(b"+-"):
                self._at += 1
            if self._peek() not in _DIGITS:
                raise self._wrong("in exponent of numeric literal")
            self._digits()
