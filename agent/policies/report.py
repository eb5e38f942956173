"""Tells the controller what this node has realized: one status per policy and generation.

Reports are small requests off the hot path: the last word on a policy replaces earlier ones that have not
been sent, few are under way at a time, and a failure is tried again with a growing pause (Antrea: 5 s to
300 s). A new full state, perhaps from another controller, makes everything worth reporting again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from agent.policies.reconcile import Realization
from agent.policies.wire import API_VERSION
from apis import envelope
from apis.controlplane import v1beta2_pb2 as pb
from client.errors import ApiError, ConnectionFailed
from runtime import log
from runtime.backoff import Backoff

logger = log.get(__name__)

WORKERS = 4
GATHER = 0.05  # seconds between the first new report and the first request: bursts coalesce
PROTOBUF = "application/vnd.kubernetes.protobuf"


class Sink(Protocol):
    """What is needed of a client to the controller (client.rest.RestClient has it)."""

    async def request(
        self, method: str, path: str, *, body: object = None, content_type: str = "", accept: str = ""
    ) -> object: ...


class Reporter:
    def __init__(
        self, node: str, connect: Callable[[], Awaitable[Sink]], wanted: Callable[[str], bool]
    ) -> None:
        """``wanted(policy)`` says whether the controller in use takes reports on that policy."""
        self._node = node
        self._connect = connect
        self._wanted = wanted
        self._pending: dict[str, Realization] = {}
        self._sent: dict[str, Realization] = {}
        self._work = asyncio.Event()
        self.reported = 0

    def put(self, realizations: Iterable[Realization]) -> None:
        """Queue what has not been said yet."""
        for realization in realizations:
            if self._sent.get(realization.policy) != realization and self._wanted(realization.policy):
                self._pending[realization.policy] = realization
        if self._pending:
            self._work.set()

    def forget(self, policies: Iterable[str]) -> None:
        """These policies have ended."""
        for policy in policies:
            self._pending.pop(policy, None)
            self._sent.pop(policy, None)

    def reset(self) -> None:
        """Everything is worth reporting again: a full state came from the controller."""
        self._sent.clear()

    async def run(self) -> None:
        backoff = Backoff(initial=5.0, maximum=300.0)
        while True:
            await self._work.wait()
            await asyncio.sleep(GATHER)
            try:
                sink = await self._connect()
                await self._drain(sink)
                backoff.reset()
            except (ApiError, ConnectionFailed) as error:
                delay = backoff.next()
                logger.log(
                    log.V(1),
                    "The realization of policies cannot be reported, again in %.0f s: %s",
                    delay,
                    error,
                )
                await asyncio.sleep(delay)

    async def _drain(self, sink: Sink) -> None:
        """Send until nothing is left. The first failure ends it; what was not sent stays pending."""
        workers = [asyncio.create_task(self._worker(sink)) for _ in range(min(WORKERS, len(self._pending)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        if not self._pending:
            self._work.clear()

    async def _worker(self, sink: Sink) -> None:
        while self._pending:
            name, realization = self._pending.popitem()
            try:
                await self._send(sink, realization)
            except BaseException:
                self._pending.setdefault(name, realization)
                raise
            self._sent[name] = realization
            self.reported += 1

    async def _send(self, sink: Sink, realization: Realization) -> None:
        message = pb.NetworkPolicyStatus()
        message.metadata.name = realization.policy
        message.nodes.add(
            nodeName=self._node,
            generation=realization.generation,
            realizationFailure=bool(realization.failure),
            message=realization.failure,
        )
        await sink.request(
            "POST",
            f"/apis/{API_VERSION}/networkpolicies/{realization.policy}/status",
            body=envelope.wrap(API_VERSION, "NetworkPolicyStatus", message.SerializeToString()),
            content_type=PROTOBUF,
            accept=f"{PROTOBUF}, application/json",
        )
