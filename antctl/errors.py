"""What a command ends with when it does not succeed."""

from __future__ import annotations


class CommandError(Exception):
    """Printed as ``Error: <text>`` on stderr; antctl exits with status 1. ``output`` still goes to stdout."""

    def __init__(self, text: str, output: str = "") -> None:
        super().__init__(text)
        self.output = output
