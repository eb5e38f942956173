"""The error that decoding raises."""

from __future__ import annotations


class GoJSONError(ValueError):
    """Text that is no JSON, or JSON that does not fit the type; the message is the one of Go."""
