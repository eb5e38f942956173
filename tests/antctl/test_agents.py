"""Reaching agents from outside: where they are, and the short-lived tokens that they are shown."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from antctl.agent import AGAIN_SECONDS, ShortLivedToken, direct
from antctl.errors import CommandError
from antctl.mode import Mode
from antctl.session import Session
from antctl.transport import finish
from apiserver.certificates import self_signed
from tests.antctl.server import FixedServer, write_kubeconfig


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("life", "good_until"),
    [(600, 540), (3600, 3540), (80, 40), (10, 5)],
)
async def test_tokens_are_renewed_before_they_end(life: float, good_until: float) -> None:
    clock, made = Clock(), iter("abc")
    tokens = ShortLivedToken(lambda: (next(made), life), (next(made), life), clock)
    assert await tokens() == {"Authorization": "Bearer a"}
    clock.now += good_until - 0.5
    assert await tokens() == {"Authorization": "Bearer a"}
    clock.now += 1
    assert await tokens() == {"Authorization": "Bearer b"}


async def test_a_token_serves_until_its_end_when_no_other_can_be_had() -> None:
    clock = Clock()
    answers: list[Any] = [CommandError("no"), CommandError("no"), ("b", 600.0)]

    def request() -> tuple[str, float]:
        answer = answers.pop(0)
        if isinstance(answer, CommandError):
            raise answer
        return answer[0], answer[1]

    tokens = ShortLivedToken(request, ("a", 600.0), clock)
    clock.now += 550
    assert await tokens() == {"Authorization": "Bearer a"}
    clock.now += AGAIN_SECONDS / 2
    assert await tokens() == {"Authorization": "Bearer a"}
    assert len(answers) == 2, "it is not asked for with every request"
    clock.now = 1000 + 601
    with pytest.raises(CommandError, match="no"):
        await tokens()
    assert await tokens() == {"Authorization": "Bearer b"}


async def test_requests_at_once_share_one_token() -> None:
    clock, made = Clock(), iter("abc")
    tokens = ShortLivedToken(lambda: (next(made), 600.0), (next(made), 600.0), clock)
    clock.now += 550
    found = await asyncio.gather(*(tokens() for _ in range(20)))
    assert {one["Authorization"] for one in found} == {"Bearer b"}


BUNDLE = base64.b64encode(self_signed("localhost", ("localhost",)).certificate).decode()
INFO = {"nodeRef": {"name": "n1"}, "apiPort": 10351, "apiCABundle": BUNDLE}
NODE = {"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}}
TOKEN = {"spec": {"expirationSeconds": 600}, "status": {"token": "made-for-it"}}
DAEMON_SETS: dict[str, Any] = {"items": [{"metadata": {"namespace": "kube-system"}}]}


@pytest.mark.parametrize(
    ("info", "node", "daemon_sets", "outcome"),
    [
        (INFO, NODE, DAEMON_SETS, "https://10.0.0.1:10351"),
        ({**INFO, "apiPort": 0}, NODE, DAEMON_SETS, "https://10.0.0.1:10350"),
        (
            INFO,
            {"status": {"addresses": [{"type": "InternalIP", "address": "fd00::1"}]}},
            DAEMON_SETS,
            "https://[fd00::1]:10351",
        ),
        ({}, NODE, DAEMON_SETS, "AntreaAgentInfo is not ready for Node n1"),
        ({**INFO, "apiCABundle": ""}, NODE, DAEMON_SETS, "no cert available.*try --insecure"),
        ({**INFO, "apiCABundle": "!"}, NODE, DAEMON_SETS, "is no certificate.*try --insecure"),
        (INFO, {"metadata": {"name": "n1"}}, DAEMON_SETS, "Node n1 has no address"),
        (
            None,
            NODE,
            DAEMON_SETS,
            "error when getting AntreaAgentInfo of Node n1: the server could not find it",
        ),
        (INFO, None, DAEMON_SETS, "error when getting Node n1: the server could not find it"),
        (INFO, NODE, {"items": None}, "no antrea-agent DaemonSet found, cannot determine the Namespace"),
        (
            INFO,
            NODE,
            {"items": [{"metadata": {"namespace": name}} for name in ("b", "a", "b")]},
            r"DaemonSets are in several Namespaces \(a, b\)",
        ),
    ],
)
def test_an_agent_is_found_through_its_information(
    info: Any, node: Any, daemon_sets: Any, outcome: str, tmp_path: Path
) -> None:
    documents: dict[str, Any] = {
        "/api/v1/namespaces/kube-system/serviceaccounts/antctl/token": TOKEN,
        "/apis/crd.antrea.io/v1beta1/antreaagentinfos/n1": info,
        "/api/v1/nodes/n1": node,
        "/apis/apps/v1/daemonsets": daemon_sets,
    }

    def respond(path: str, query: dict[str, str]) -> tuple[int, bytes] | None:
        document = documents[path]
        return None if document is None else (200, json.dumps(document).encode())

    server = FixedServer(respond)
    try:
        session = Session(
            Mode("controller", False), kubeconfig=str(write_kubeconfig(tmp_path / "kubeconfig", server.url))
        )
        if outcome.startswith("https"):
            endpoint = direct(session, "n1")
            assert (endpoint.url, endpoint.server_name) == (outcome, "localhost")
            assert server.requests[-2][1] == {"labelSelector": "app=antrea,component=antrea-agent"}
            assert finish(endpoint.headers()) == {"Authorization": "Bearer made-for-it"}
        else:
            with pytest.raises(CommandError, match=outcome):
                direct(session, "n1")
    finally:
        server.close()
