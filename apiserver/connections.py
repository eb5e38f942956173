"""Who may have a connection: bounds in all and per source address, and what gives way under a flood.

A connection whose TLS handshake is not done is *half-open*. When there are too many of those, the oldest one
of the address with the most gives way: whoever opens thousands and says nothing pushes out his own, while an
honest client is done within milliseconds. Only if none is old enough to be suspicious does everybody wait.
"""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

YOUNG_SECONDS = 2.0
"""A handshake younger than this is given time: a thousand agents that come at once are no attack."""


def source(address: object) -> str:
    """The address that a connection is counted under: IPv4, or an IPv6 network of 64 bits, of which a single
    machine has all addresses. Empty (never bounded) for a local socket."""
    if not isinstance(address, tuple):
        return ""
    try:
        parsed = ipaddress.ip_address(str(address[0]).partition("%")[0])
    except ValueError:
        return str(address[0])
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))


@dataclass(slots=True, eq=False)
class Connection:
    """One accepted socket until it is closed."""

    peer: str
    since: float
    drop: Callable[[], None] = field(default=lambda: None)  # ends it, set by whoever owns the transport
    half_open: bool = True


class Connections:
    """Counts them. ``total`` and ``per_peer`` bound all, ``half_open`` those in their handshake."""

    def __init__(
        self, total: int, per_peer: int, half_open: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total = total
        self._per_peer = per_peer
        self._half_open_limit = half_open
        self._clock = clock
        self._peers: Counter[str] = Counter()
        self._count = 0
        self._half_open: dict[str, dict[Connection, None]] = {}  # by peer, oldest first
        self._half_open_count = 0
        self.refused = 0
        self.evicted = 0

    def __len__(self) -> int:
        return self._count

    @property
    def half_open(self) -> int:
        return self._half_open_count

    def make_room(self) -> bool:
        """Before another one is accepted; False: wait a little, all handshakes are young."""
        if self._half_open_count < self._half_open_limit and self._count < self._total:
            return True
        victim = self._victim()
        if victim is None:
            return self._half_open_count < self._half_open_limit
        self.evicted += 1
        self.closed(victim)
        victim.drop()
        return True

    def _victim(self) -> Connection | None:
        limit = self._clock() - YOUNG_SECONDS
        found: Connection | None = None
        most = 0
        for waiting in self._half_open.values():
            oldest = next(iter(waiting))
            if len(waiting) > most and oldest.since <= limit:
                found, most = oldest, len(waiting)
        return found

    def opened(self, peer: str) -> Connection | None:
        """A new connection, half-open; None if it is one too many and to be closed at once."""
        if self._count >= self._total or (peer and self._peers[peer] >= self._per_peer):
            self.refused += 1
            return None
        connection = Connection(peer, self._clock())
        self._peers[peer] += 1
        self._count += 1
        self._half_open.setdefault(peer, {})[connection] = None
        self._half_open_count += 1
        return connection

    def established(self, connection: Connection) -> None:
        """Its handshake is done."""
        if connection.half_open:
            connection.half_open = False
            self._half_open_count -= 1
            waiting = self._half_open[connection.peer]
            del waiting[connection]
            if not waiting:
                del self._half_open[connection.peer]

    def closed(self, connection: Connection) -> None:
        """It is gone; saying so again does nothing."""
        if connection.since == float("-inf"):
            return
        self.established(connection)
        connection.since = float("-inf")
        self._count -= 1
        self._peers[connection.peer] -= 1
        if not self._peers[connection.peer]:
            del self._peers[connection.peer]
