"""The node's nftables table: its text, and that nft and the kernel take it."""

from __future__ import annotations

import ipaddress
import json
import shutil
from dataclasses import replace

import pytest

from agent.model import NodeConfig
from agent.nodes.hostrules import HostRules, ruleset
from tests.support.ovs import Namespace, unique

CONFIG = NodeConfig(
    name="n1",
    transport_ips=(ipaddress.ip_address("192.0.2.1"),),
    pod_cidrs=(ipaddress.ip_network("10.77.1.0/24"), ipaddress.ip_network("fd00:1::/64")),
    gateway_name="antrea-gw0",
    gateway_mac="0a:00:00:00:00:01",
    gateway_ips=(ipaddress.ip_address("10.77.1.1"), ipaddress.ip_address("fd00:1::1")),
    gateway_ofport=32769,
    tunnel_ofport=32768,
)
PEERS = [ipaddress.ip_network("10.77.2.0/24"), ipaddress.ip_network("fd00:2::/64")]


def test_text_on_the_kernel_datapath() -> None:
    assert ruleset(CONFIG, PEERS).splitlines() == [
        "table inet antrea",
        "delete table inet antrea",
        "table inet antrea {",
        "  chain output {",
        "    type filter hook output priority mangle; policy accept;",
        '    oifname "antrea-gw0" fib saddr type local meta mark set meta mark or 0x80000000',
        "  }",
        "  chain postrouting {",
        "    type nat hook postrouting priority srcnat; policy accept;",
        '    ip saddr 10.77.1.0/24 oifname != "antrea-gw0" '
        "ip daddr != { 10.77.1.0/24, 10.77.2.0/24 } masquerade",
        '    ip6 saddr fd00:1::/64 oifname != "antrea-gw0" '
        "ip6 daddr != { fd00:1::/64, fd00:2::/64 } masquerade",
        "  }",
        "}",
    ]


def test_the_userspace_datapath_has_no_use_for_marks() -> None:
    text = ruleset(replace(CONFIG, userspace_datapath=True), PEERS)
    assert "mark" not in text
    assert "iifgroup 24942 drop" in text
    assert text.count("masquerade") == 2


def test_the_order_of_peers_does_not_matter() -> None:
    assert ruleset(CONFIG, PEERS) == ruleset(CONFIG, [*reversed(PEERS), *PEERS])


@pytest.mark.lab
@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is missing: install Debian's nftables")
@pytest.mark.parametrize("userspace", [False, True])
def test_nft_takes_the_text_twice_and_leaves_other_tables_alone(userspace: bool) -> None:
    with Namespace(unique("aocn")) as namespace:
        namespace.run("nft", "add", "table", "inet", "other")
        for _ in range(2):
            text = ruleset(replace(CONFIG, userspace_datapath=userspace), PEERS)
            namespace.run("sh", "-c", f"nft -f - <<'END'\n{text}\nEND\n")
        tables = json.loads(namespace.run("nft", "-j", "list", "tables"))["nftables"]
        assert [entry["table"]["name"] for entry in tables if "table" in entry] == ["other", "antrea"]
        assert ("mark" in namespace.run("nft", "list", "table", "inet", "antrea")) == (not userspace)


async def test_without_nft_the_agent_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("agent.nodes.hostrules.shutil.which", lambda *_, **__: None)
    rules = HostRules(CONFIG)
    await rules.reconcile([])
    await rules.reconcile([])
    assert [record.getMessage() for record in caplog.records if "nft is missing" in record.getMessage()] == [
        "The rules of nftables table inet antrea cannot be set: the command nft is missing (Debian's package "
        "nftables); pods do not reach addresses outside the cluster, "
        "and policies apply to kubelet's probes as well"
    ]
