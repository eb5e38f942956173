"""Kinds that are checked and stored, and that nothing acts on yet: whoever writes one is told so.

A policy that drops nothing must not look as if it did. The line of a kind goes when its feature comes.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace

from apiserver.admission import AdmissionRequest, Handler, Verdict


def remark(kind: str) -> str:
    return f"this version of antrea-py stores the {kind} and does nothing more with it"


def unbuilt(handler: Handler) -> Handler:
    """The same rule, with a warning where it lets an object pass."""

    def told(verdict: Verdict, kind: str) -> Verdict:
        return replace(verdict, warnings=[*verdict.warnings, remark(kind)]) if verdict.allowed else verdict

    async def told_later(verdict: Awaitable[Verdict], kind: str) -> Verdict:
        return told(await verdict, kind)

    def check(request: AdmissionRequest) -> Verdict | Awaitable[Verdict]:
        verdict = handler(request)
        if request.operation not in ("CREATE", "UPDATE"):
            return verdict
        kind = request.kind.kind
        return told(verdict, kind) if isinstance(verdict, Verdict) else told_later(verdict, kind)

    return check
