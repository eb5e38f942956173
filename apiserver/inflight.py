"""How many requests may be worked on at once, reading and changing ones apart (kube-apiserver's filter
"max in flight"): beyond that 429, with the advice to come again in a second.

Watches and other streams are not counted: they are bounded by the number of connections.
"""

from __future__ import annotations

from types import TracebackType

from apiserver.auth import MASTERS, User
from apiserver.errors import too_many_requests
from apiserver.request import RequestInfo

READ_ONLY = 400
MUTATING = 200
_READING = ("get", "list", "watch", "head")


class InFlight:
    """Counts requests: ``with in_flight.slot(user, info): …``. Raises 429."""

    def __init__(self, read_only: int = READ_ONLY, mutating: int = MUTATING) -> None:
        self.limits = {True: read_only, False: mutating}
        self.counts = {True: 0, False: 0}
        self.rejected = 0
        self.long_running: set[str] = set()  # paths that stream

    def slot(self, user: User, info: RequestInfo) -> _Slot:
        if info.verb in ("watch", "proxy") or (not info.is_resource and info.path in self.long_running):
            return _Slot(self, None)
        reading = info.verb in _READING
        if self.counts[reading] >= self.limits[reading] and MASTERS not in user.groups:
            self.rejected += 1
            raise too_many_requests()
        return _Slot(self, reading)


class _Slot:
    __slots__ = ("_in_flight", "_reading")

    def __init__(self, in_flight: InFlight, reading: bool | None) -> None:
        self._in_flight = in_flight
        self._reading = reading

    def __enter__(self) -> None:
        if self._reading is not None:
            self._in_flight.counts[self._reading] += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reading is not None:
            self._in_flight.counts[self._reading] -= 1
