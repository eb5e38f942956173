"""VLANs as AntreaNodeConfig lists them: ``7`` or ``10-20``."""

from __future__ import annotations

from typing import Final

from apis.gojson import quote

MAXIMUM: Final = 4094
_LARGEST: Final = 2**16 - 1  # what the number is read into


def vlan_refusal(text: str) -> str | None:
    """Why the entry is no VLAN or range of them, in Antrea's words (the numbers' problems are Go's)."""
    text = text.strip()
    if "-" not in text:
        number = _number(text)
        if isinstance(number, str):
            return f"invalid VLAN ID {quote(text)}: {number}"
        return _beyond(number)
    first, _, last = text.partition("-")
    start = _number(first)
    if isinstance(start, str):
        return f"invalid VLAN range start {quote(first)}: {start}"
    end = _number(last)
    if isinstance(end, str):
        return f"invalid VLAN range end {quote(last)}: {end}"
    if start > end:
        return f"VLAN range start {start} is greater than end {end}"
    return _beyond(end)


def _beyond(number: int) -> str | None:
    return f"VLAN ID {number} is greater than the maximum VLAN ID {MAXIMUM}" if number > MAXIMUM else None


def _number(text: str) -> int | str:
    """The number of decimal digits, or what Go says of the text."""
    value = 0
    for digit in text:
        if digit not in "0123456789":
            break
        value = value * 10 + int(digit)
        if value > _LARGEST:  # Go reads no further
            return f"strconv.ParseUint: parsing {quote(text)}: value out of range"
    else:
        if text:
            return value
    return f"strconv.ParseUint: parsing {quote(text)}: invalid syntax"
