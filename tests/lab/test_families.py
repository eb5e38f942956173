"""Pods reach pods over each address family that a lab has, on one node and across two, over each protocol."""

from __future__ import annotations

import pytest

from lab import apply, matrix, pods
from lab.probing import Prober
from tests.support.lab import running_lab

pytestmark = pytest.mark.lab
PROTOCOLS = ("TCP", "UDP", "SCTP")


@pytest.mark.parametrize(("family", "versions"), [("ipv4", (4,)), ("ipv6", (6,)), ("dual", (4, 6))])
async def test_everybody_reaches_everybody(family: str, versions: tuple[int, ...]) -> None:
    with running_lab("fam", nodes=2, family=family) as lab:
        async with lab.client() as client:
            ports = [(protocol, 80) for protocol in PROTOCOLS]
            wanted = [
                pods.pod(f"fam/{name}{node}", ports=ports, node=f"node-{node}")
                for name in "ab"
                for node in (1, 2)
            ]
            names = [f"fam/{p['metadata']['name']}" for p in wanted]
            await apply.apply_all(client, [pods.namespace("fam"), *wanted])
            running = await lab.wait_pods_ready(client, names)
            assert all(len(pod.ips) == len(versions) for pod in running)
            expected = {source: dict.fromkeys(names, True) for source in names}
            with Prober(lab.directory.probe_ports) as prober:
                for version in versions:
                    for protocol in PROTOCOLS:
                        found = matrix.measure(prober, running, running, 80, protocol, version, timeout=5.0)
                        assert found.differences(expected) == [], (version, protocol)
