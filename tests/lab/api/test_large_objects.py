"""Objects near the bound of a body are worked on beside the event loop: everybody else is still answered."""

from __future__ import annotations

import concurrent.futures
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.lab.api.process import Answer, LabApi

COUNT = 30_000
APPLY = "application/apply-patch+yaml"


def policy(**metadata: Any) -> dict[str, Any]:
    peers = [{"ipBlock": {"cidr": f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}/32"}} for i in range(COUNT)]
    spec = {"podSelector": {}, "ingress": [{"from": peers}]}
    head = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return {**head, "metadata": {"name": "big", **metadata}, "spec": spec}


def longest_wait(api: LabApi, write: Callable[[], Answer]) -> tuple[float, Answer]:
    """How long somebody else waited for an answer during the write."""
    connection = api.connect()
    connection.request("GET", "/livez")
    connection.getresponse().read()
    longest = 0.0
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not writing.done():
            began = time.monotonic()
            connection.request("GET", "/livez")
            connection.getresponse().read()
            longest = max(longest, time.monotonic() - began)
            time.sleep(0.005)
    connection.close()
    return longest, writing.result()


def test_a_policy_of_many_blocks_is_written_beside_everybody_else(api: LabApi) -> None:
    """On the event loop each of these would take more than a second."""
    path = f"{api.namespace('large')}/networkpolicies".replace("/api/v1", "/apis/networking.k8s.io/v1")
    one = f"{path}/big"
    applied = json.dumps(policy(labels={"a": "c"})).encode()
    changed = json.dumps(policy(labels={"a": "b"})).encode()
    writes: list[tuple[int, Callable[[], Answer]]] = [
        (201, lambda: api.post(path, policy())),
        (200, lambda: api.put(one, changed)),
        (200, lambda: api.merge(one, {"metadata": {"labels": {"c": "d"}}})),
        (200, lambda: api.request("PATCH", f"{one}?fieldManager=m&force=1", applied, media=APPLY)),
        (200, lambda: api.delete(one)),
    ]
    for status, write in writes:
        waited, answer = longest_wait(api, write)
        assert answer.status == status, answer.raw[:500]
        assert waited < 0.5  # generous: other work shares the processors with the tests


@pytest.mark.parametrize("media", ["application/json", "application/yaml"])
def test_bodies_have_kube_apiservers_bound(api: LabApi, media: str) -> None:
    body = json.dumps({"metadata": {"name": "x"}, "data": {"a": "x" * (3 << 20)}}).encode()
    answer = api.post("/api/v1/namespaces/default/configmaps", body, media=media)
    assert answer.status == 413
    assert answer.json["reason"] == "RequestEntityTooLarge"


def test_aliases_cannot_stand_for_everything(api: LabApi) -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for name, inner in ("ba", "cb", "dc", "ed", "fe"):
        lines.append(f"{name}: &{name} [{', '.join([f'*{inner}'] * 10)}]")
    body = "\n".join(lines).encode()
    answer = api.post("/api/v1/namespaces/default/configmaps", body, media="application/yaml")
    assert answer.status == 400
    assert "document contains excessive aliasing" in answer.json["message"]
