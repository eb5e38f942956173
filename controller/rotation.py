"""The steps from one serving certificate to the next, as data: what is served, what comes next, what was.

    steady      current                   published: current
    prepared    current, next             published: current and next, served: current
    promoted    current, previous         published: both, served: the new current
    steady      current                   a while later

Whoever serves follows the same stock, and a client that trusts what is published trusts what is served, at
each step and between any two of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from apiserver.certificates import KeyPair

END = b"-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its key, and what clients must trust to accept it (PEM)."""

    pair: KeyPair
    ca: bytes

    def remaining(self) -> timedelta:
        """How long it can still be used; nothing for what cannot be read."""
        try:
            return self.pair.leaf.not_valid_after_utc - datetime.now(UTC)
        except (ValueError, IndexError):
            return timedelta()


@dataclass(frozen=True, slots=True)
class Stock:
    """The state of a rotation. ``since``: seconds since the epoch of the last step."""

    current: Identity
    next: Identity | None = None
    previous: bytes = b""  # what clients of the one before must trust
    since: float = 0.0

    @property
    def bundle(self) -> bytes:
        """What is to be published: every certificate once, those of the current one first."""
        return joined(self.current.ca, self.next.ca if self.next is not None else b"", self.previous)

    def prepared(self, identity: Identity, now: float) -> Stock:
        return replace(self, next=identity, since=now)

    def promoted(self, now: float) -> Stock:
        assert self.next is not None
        return Stock(self.next, None, self.current.ca, now)

    def settled(self, now: float) -> Stock:
        return replace(self, previous=b"", since=now)

    def abandoned(self) -> Stock:
        """Without the next one."""
        return replace(self, next=None)


def joined(*bundles: bytes) -> bytes:
    """The certificates of several bundles, each once."""
    return b"".join(dict.fromkeys(certificate for bundle in bundles for certificate in split(bundle)))


def split(bundle: bytes) -> list[bytes]:
    """The certificates of a bundle, each PEM text ending with a newline."""
    found = []
    for part in bundle.split(END)[:-1]:
        start = part.rfind(b"-----BEGIN CERTIFICATE-----")
        if start >= 0:
            found.append(part[start:].strip() + b"\n" + END + b"\n")
    return found


def contains(bundle: bytes, parts: Iterable[bytes]) -> bool:
    """Whether each certificate of each part is in the bundle."""
    held = set(split(bundle))
    return all(certificate in held for part in parts for certificate in split(part))
