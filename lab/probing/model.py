"""What is asked and what is found."""

from __future__ import annotations

import enum
from dataclasses import dataclass

PROTOCOLS = ("TCP", "UDP", "SCTP")


class Outcome(enum.Enum):
    ALLOWED = "allowed"  # the expected pod answered with its name
    STRANGER = "answered by another"  # packets pass, but not to the pod that was meant
    MUTE = "connected without an answer"  # the TCP handshake passed, no word came back
    REFUSED = "refused"  # packets pass, nobody listens there (RST, port unreachable, ABORT)
    UNREACHABLE = "unreachable"  # no route, or a router on the way said so
    TIMEOUT = "timeout"  # what a dropped packet looks like
    FAILED = "failed"  # the probe could not be sent: says nothing about policy


# Packets went through in both directions: what must never happen to a denied pair.
PASSED = frozenset({Outcome.ALLOWED, Outcome.STRANGER, Outcome.MUTE})


@dataclass(frozen=True, slots=True)
class Probe:
    source: str  # a name for people and for the bookkeeping of source ports: "ns/pod"
    netns: str  # path of the source's network namespace
    address: str
    port: int
    protocol: str = "TCP"  # TCP, UDP, SCTP
    expect: str | None = None  # the name that should answer; None: any

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.source} → {self.expect or host}:{self.port}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Result:
    probe: Probe
    outcome: Outcome
    sent_at: float  # time.monotonic() when the first packet left
    ended_at: float
    answer: str = ""
    detail: str = ""

    @property
    def allowed(self) -> bool:
        return self.outcome is Outcome.ALLOWED

    @property
    def passed(self) -> bool:
        """Whether anything of the probe got through and back; wider than ``allowed``."""
        return self.outcome in PASSED

    @property
    def seconds(self) -> float:
        return self.ended_at - self.sent_at
