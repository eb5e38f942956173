"""Kubernetes' quantities: numbers with a suffix, such as ``500k``, ``1.5Gi`` or ``1e3``."""

from __future__ import annotations

import re
from typing import Final

FORMAT: Final = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
SUFFIX: Final = "unable to parse quantity's suffix"

# What the parser reads, which is not quite what its message says: a bare sign or a bare dot counts as zero.
_QUANTITY: Final = re.compile(r"[+-]?[0-9]*(?:\.[0-9]*)?(?P<suffix>[eEinumkKMGTP]*[-+]?[0-9]*)")
_EXPONENT: Final = re.compile(r"[eE][-+]?[0-9]+")
_LONGEST_EXPONENT: Final = 18  # digits that fit 64 bits in any case
_SUFFIXES: Final = frozenset(
    ("n", "u", "m", "", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
)


def problem_with_quantity(text: str) -> str | None:
    """Why the text is no quantity, in the words of Kubernetes' libraries; None if it is one."""
    match = _QUANTITY.fullmatch(text)
    if match is None or not text:
        return FORMAT
    suffix = match["suffix"]
    if suffix in _SUFFIXES:
        return None
    if _EXPONENT.fullmatch(suffix) and len(suffix.lstrip("eE+-").lstrip("0")) <= _LONGEST_EXPONENT:
        return None
    return SUFFIX
