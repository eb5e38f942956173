"""Who may have a connection: bounds in all and per source address, and whose turn it is to shake hands.

A TLS handshake costs memory and time, and a stranger may leave it half done. Every address has so many
handshakes under way at once, the rest of its connections wait for one of them to end: whoever opens thousands
and says nothing waits for himself, and costs little more than descriptors. When many addresses do it, the one
with the most handshakes gives way to one with few.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

YOUNG_SECONDS = 2.0
"""A handshake younger than this is not suspicious: a thousand agents that come at once are no attack."""

UNFAIR = 4
"""Whoever has so many times the handshakes of a newcomer gives way to it all the same."""


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
    """One accepted socket until it is closed. ``drop`` ends it; whoever owns the transport sets it."""

    peer: str
    since: float
    drop: Callable[[], None] = field(default=lambda: None)
    finished: bool = False  # the handshake is done
    over: bool = False
    turn: asyncio.Event = field(default_factory=asyncio.Event)


class _Peer:
    """The unfinished connections of one address, oldest first: those whose turn it is, those that wait."""

    __slots__ = ("shaking", "waiting")

    def __init__(self) -> None:
        self.shaking: dict[Connection, None] = {}
        self.waiting: dict[Connection, None] = {}


class Connections:
    """``total`` and ``per_peer`` bound all of them, the others the handshakes that are under way."""

    def __init__(
        self,
        total: int,
        per_peer: int,
        handshakes: int,
        handshakes_per_peer: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._per_peer = per_peer
        self._handshakes = handshakes
        self._handshakes_per_peer = handshakes_per_peer
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._peers: dict[str, _Peer] = {}  # those with unfinished connections
        self._ready: dict[str, _Peer] = {}  # those of them that wait though they may have more handshakes
        self._count = 0
        self.shaking = 0
        self.refused = 0
        self.evicted = 0

    def __len__(self) -> int:
        return self._count

    def opened(self, address: str) -> Connection | None:
        """A new connection; None if it is one too many and to be closed at once."""
        is_too_many = bool(address) and self._counts[address] >= self._per_peer
        if is_too_many or (self._count >= self._total and not self._evict(address)):
            self.refused += 1
            return None
        connection = Connection(address, self._clock())
        self._counts[address] += 1
        self._count += 1
        peer = self._peers.setdefault(address, _Peer())
        peer.waiting[connection] = None
        self._note(address, peer)
        if address in self._ready and self.shaking >= self._handshakes:
            self._evict(address)
        self._grant()
        return connection

    def _note(self, address: str, peer: _Peer) -> None:
        """Keep ``_peers`` and ``_ready`` true after a change."""
        if peer.waiting and (not address or len(peer.shaking) < self._handshakes_per_peer):
            self._ready[address] = peer
        else:
            self._ready.pop(address, None)
        if not peer.waiting and not peer.shaking:
            self._peers.pop(address, None)

    def _grant(self) -> None:
        """Give turns while there are some, to whoever has the fewest."""
        while self._ready and self.shaking < self._handshakes:
            address, fewest = "", None
            for name, peer in self._ready.items():
                if fewest is None or len(peer.shaking) < len(fewest.shaking):
                    address, fewest = name, peer
                    if not peer.shaking:
                        break
            assert fewest is not None
            following = next(iter(fewest.waiting))
            del fewest.waiting[following]
            fewest.shaking[following] = None
            self.shaking += 1
            following.turn.set()
            self._note(address, fewest)

    def _evict(self, address: str) -> bool:
        """End an unfinished connection of whoever has the most of them, in favour of another address: one
        that has not come on for long, or else the newest. Not between those that have about as many."""
        mine = self._peers.get(address)
        most = max(self._peers.values(), key=lambda peer: len(peer.shaking), default=None)
        if most is None or not most.shaking:
            return False
        victim = next(iter(most.shaking))
        if victim.since > self._clock() - YOUNG_SECONDS:
            if len(most.shaking) < UNFAIR * (1 + (len(mine.shaking) if mine is not None else 0)):
                return False
            victim = next(reversed(most.shaking))
        self.evicted += 1
        self.closed(victim)
        victim.drop()
        return True

    def established(self, connection: Connection) -> None:
        """Its handshake is done, or given up."""
        if connection.finished:
            return
        connection.finished = True
        peer = self._peers[connection.peer]
        if connection in peer.shaking:
            del peer.shaking[connection]
            self.shaking -= 1
        else:
            del peer.waiting[connection]
        self._note(connection.peer, peer)
        self._grant()

    def closed(self, connection: Connection) -> None:
        """It is gone; saying so again does nothing."""
        if connection.over:
            return
        connection.over = True
        self.established(connection)
        self._count -= 1
        self._counts[connection.peer] -= 1
        if not self._counts[connection.peer]:
            del self._counts[connection.peer]
