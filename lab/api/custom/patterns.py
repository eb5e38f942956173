"""Patterns of schemas: Go's regular expressions, which RE2 reads and matches in linear time.

Whoever may create a definition writes these; Python's own engine backtracks, and `(a+)+$` would hold the
process for as long as its author likes. RE2 is the syntax that kube-apiserver has.
"""

from __future__ import annotations

import functools
from typing import Any

import re2

_MEMORY = 1 << 20  # bytes of a compiled pattern, its automaton included


class PatternError(ValueError):
    """A pattern that is none of RE2's, or too large."""


def _options() -> Any:
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    return options


@functools.lru_cache(maxsize=512)
def compiled(pattern: str) -> Any:
    """The pattern, ready to search. Raises PatternError."""
    try:
        return re2.compile(pattern, _options())
    except (re2.error, UnicodeError) as problem:
        text = problem.args[0] if problem.args else ""
        why = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        raise PatternError(f"error parsing regexp: {why}") from None


def matches(pattern: str, text: str) -> bool:
    """Whether the pattern is found anywhere in the text. One that does not compile matches nothing."""
    try:
        return compiled(pattern).search(text) is not None
    except (PatternError, UnicodeError):
        return False
