"""Which requests the proxy lets through: those that name this machine.

Else any web page that the user has open could send requests in the user's name. The defaults (in the command)
and the matching are those of kubectl proxy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from antctl.errors import CommandError

Patterns = Sequence[re.Pattern[str]]


def patterns(flag: str, text: str) -> list[re.Pattern[str]]:
    """Regular expressions separated by commas. Raises CommandError."""
    found = []
    for one in text.split(",") if text else ():
        try:
            found.append(re.compile(one))
        except re.error as error:
            raise CommandError(f"--{flag}: {one!r} is no regular expression: {error}") from error
    return found


@dataclass(frozen=True, slots=True)
class Filter:
    accept_paths: Patterns
    reject_paths: Patterns
    accept_hosts: Patterns
    reject_methods: Patterns

    def allows(self, method: str, path: str, host: str) -> bool:
        """``host`` is that of the Host header."""
        if _any(self.reject_methods, method) or _any(self.reject_paths, path):
            return False
        return _any(self.accept_paths, path) and _any(self.accept_hosts, without_port(host))


def _any(patterns: Patterns, text: str) -> bool:
    return any(pattern.search(text) for pattern in patterns)


def without_port(host: str) -> str:
    """``localhost:8001`` → ``localhost``; brackets of IPv6 addresses stay."""
    return host if host.endswith("]") else re.sub(r":\d*$", "", host)
