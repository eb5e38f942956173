"""Node objects as the agent reads them, and the MTU that follows from a node's set-up."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.nodes.mtu import pod_mtu
from agent.nodes.objects import NodeFacts, decode_node


def node(**changes: Any) -> bytes:
    value: dict[str, Any] = {
        "metadata": {"name": "n1"},
        "spec": {"podCIDR": "10.77.1.0/24", "podCIDRs": ["10.77.1.0/24", "fd00:10:77:1::/64"]},
        "status": {
            "addresses": [
                {"type": "Hostname", "address": "n1"},
                {"type": "InternalIP", "address": "192.0.2.1"},
                {"type": "InternalIP", "address": "2001:db8::1"},
            ]
        },
    }
    value.update(changes)
    return json.dumps(value).encode()


INTERNAL, EXTERNAL = "InternalIP", "ExternalIP"


def texts(values: Any) -> list[str]:
    return [str(value) for value in values]


def addresses(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"addresses": [{"type": kind, "address": address} for kind, address in pairs]}


def test_dual_stack() -> None:
    facts = decode_node(node())
    assert facts.name == "n1"
    assert texts(facts.node_ips) == texts(facts.transport_ips) == ["192.0.2.1", "2001:db8::1"]
    assert texts(facts.pod_cidrs) == ["10.77.1.0/24", "fd00:10:77:1::/64"]
    remote = facts.remote()
    assert remote is not None
    assert texts(remote.gateway_ips) == ["10.77.1.1", "fd00:10:77:1::1"]


@pytest.mark.parametrize(
    ("case", "status", "expected"),
    [
        ("first of each family", addresses((INTERNAL, "192.0.2.1"), (INTERNAL, "192.0.2.9")), ["192.0.2.1"]),
        ("IPv4 first", addresses((INTERNAL, "fd00::1"), (INTERNAL, "10.0.0.1")), ["10.0.0.1", "fd00::1"]),
        ("external only if nothing else", addresses((EXTERNAL, "203.0.113.1")), ["203.0.113.1"]),
        ("internal wins", addresses((EXTERNAL, "203.0.113.1"), (INTERNAL, "192.0.2.1")), ["192.0.2.1"]),
        ("a name is no address", addresses((INTERNAL, "n1")), []),
        ("none", {}, []),
    ],
)  # fmt: skip
def test_node_addresses(case: str, status: dict[str, Any], expected: list[str]) -> None:
    assert texts(decode_node(node(status=status)).node_ips) == expected


@pytest.mark.parametrize(
    ("case", "spec", "expected"),
    [
        ("only the old field", {"podCIDR": "10.1.0.0/24"}, ["10.1.0.0/24"]),
        ("more than one of a family", {"podCIDRs": ["10.1.0.0/24", "10.2.0.0/24"]}, ["10.1.0.0/24"]),
        ("IPv6 only", {"podCIDRs": ["fd00::/64"]}, ["fd00::/64"]),
        ("not assigned yet", {}, []),
        ("null", {"podCIDR": None, "podCIDRs": None}, []),
    ],
)
def test_pod_cidrs(case: str, spec: dict[str, Any], expected: list[str]) -> None:
    facts = decode_node(node(spec=spec))
    assert texts(facts.pod_cidrs) == expected
    assert (facts.remote() is None) == (not expected)


def test_the_transport_annotation_wins_over_the_node_address() -> None:
    meta = {"name": "n1", "annotations": {"node.antrea.io/transport-addresses": "198.51.100.1,2001:db8:1::1"}}
    facts = decode_node(node(metadata=meta))
    assert texts(facts.transport_ips) == ["198.51.100.1", "2001:db8:1::1"]
    assert texts(facts.node_ips) == ["192.0.2.1", "2001:db8::1"]


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"{", "A Node object cannot be read"),
        (b'{"metadata": {"name": 5}}', "A Node object cannot be read"),
        (b'{"metadata": {}}', "has no metadata.name"),
        (node(spec={"podCIDRs": ["10.0.0.0/99"]}), "Node n1: spec.podCIDRs holds '10.0.0.0/99'"),
    ],
)
def test_malformed(raw: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        decode_node(raw)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_anything_is_a_node_or_a_value_error(raw: bytes) -> None:
    try:
        assert isinstance(decode_node(raw), NodeFacts)
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("expected", "options"),
    [
        (1450, {}),
        (1430, {"ipv6": True}),
        (1450, {"tunnel_type": "vxlan"}),
        (1458, {"tunnel_type": "gre"}),
        (1500, {"tunnel_type": "stt", "ipv6": True}),
        (1412, {"encryption": "ipsec"}),
        (1440, {"encryption": "wireGuard"}),
        (1420, {"encryption": "wireGuard", "ipv6": True}),
        (1500, {"encap_mode": "noEncap"}),
        (1450, {"encap_mode": "Hybrid"}),
        (9000, {"default_mtu": 9000, "ipv6": True, "encryption": "ipsec"}),
    ],
)
def test_pod_mtu_on_a_1500_byte_device(expected: int, options: dict[str, Any]) -> None:
    assert pod_mtu(1500, **options) == expected


def test_a_tunnel_has_an_upper_limit() -> None:
    assert pod_mtu(65536) == 65000
    assert pod_mtu(65536, encap_mode="noEncap") == 65536
