"""What CNI ADD asks of the policy side: policy comes before traffic."""

from __future__ import annotations

from typing import Protocol

from agent.policies.readiness import Readiness


class PolicyWait(Protocol):
    """``agent.policies.readiness.PolicyReadiness`` is one.

    Called when the pod's interface is in the interface store, with its ofport, so that rules that name the
    pod can be resolved to its port; the pod's connectivity flows come after the answer.
    """

    async def wait(self, pod_uid: str, timeout: float) -> Readiness:
        """Wait until the pod's policies are realized, at most ``timeout`` seconds."""


class NoPolicies:
    """For an agent that enforces no policies: every pod is ready at once."""

    async def wait(self, pod_uid: str, timeout: float) -> Readiness:
        return Readiness.REALIZED
