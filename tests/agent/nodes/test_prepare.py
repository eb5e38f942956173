"""Which device carries the tunnels, and what a start refuses to go on with."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

import pytest

from agent.nodes.gateway import configure_gateway, gateway_addresses
from agent.nodes.netlink import Netlink, NetworkNamespaceGone
from agent.nodes.prepare import find_transport
from runtime.errors import ConfigurationError
from tests.support.ovs import Namespace, unique

pytestmark = pytest.mark.lab


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with Namespace(unique("aocn")) as namespace:
        for name, mtu, addresses in (
            ("eth0", 1500, ["192.0.2.1/24", "2001:db8::1/64"]),
            ("eth1", 9000, ["198.51.100.1/24", "2001:db8:1::1/64"]),
            ("antrea-gw0", 1450, ["10.77.1.1/24", "192.0.2.1/32"]),
            ("empty", 1500, []),
        ):
            namespace.run("ip", "link", "add", name, "mtu", str(mtu), "type", "bridge")
            for address in addresses:
                namespace.run("ip", "addr", "add", address, "dev", name)
        yield namespace


@pytest.fixture
def netlink() -> Iterator[Netlink]:
    netlink = Netlink()
    yield netlink
    netlink.close()


def ips(*texts: str) -> tuple[Any, ...]:
    return tuple(map(ipaddress.ip_address, texts))


@pytest.mark.parametrize(
    ("interface", "node_ips", "expected", "mtu"),
    [
        ("", ips("192.0.2.1", "2001:db8::1"), ips("192.0.2.1", "2001:db8::1"), 1500),
        ("", ips("198.51.100.1"), ips("198.51.100.1"), 9000),
        ("eth1", ips("192.0.2.1"), ips("198.51.100.1", "2001:db8:1::1"), 9000),
    ],
)
async def test_transport(
    namespace: Namespace, netlink: Netlink, interface: str, node_ips: Any, expected: Any, mtu: int
) -> None:
    found = await netlink.run(
        lambda ipr: find_transport(ipr, interface, node_ips, "antrea-gw0"), namespace.path
    )
    assert found == (expected, mtu)


@pytest.mark.parametrize(
    ("interface", "sentence"),
    [
        ("", "No network device of this node has the address 203.0.113.9"),
        ("eth9", "transportInterface is 'eth9'"),
        ("empty", "transportInterface is 'empty'"),
    ],
)
async def test_no_transport(namespace: Namespace, netlink: Netlink, interface: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        await netlink.run(
            lambda ipr: find_transport(ipr, interface, ips("203.0.113.9"), "antrea-gw0"), namespace.path
        )


async def test_the_gateway_has_exactly_its_addresses(namespace: Namespace, netlink: Netlink) -> None:
    addresses = gateway_addresses([ipaddress.ip_network("10.77.9.0/24"), ipaddress.ip_network("fd00:9::/64")])
    for _ in range(2):
        await netlink.run(lambda ipr: configure_gateway(ipr, "antrea-gw0", addresses, 1400), namespace.path)
        text = namespace.run("ip", "-br", "addr", "show", "antrea-gw0")
        assert [word for word in text.split() if "/" in word and not word.startswith("fe80")] == [
            "10.77.9.1/24",
            "fd00:9::1/64",
        ]
        assert "mtu 1400" in namespace.run("ip", "link", "show", "antrea-gw0")


async def test_a_namespace_that_is_gone(netlink: Netlink, tmp_path: Any) -> None:
    (tmp_path / "left-behind").touch()  # what a mount point is after its namespace
    for path in ("/run/netns/no-such", str(tmp_path / "left-behind"), str(tmp_path)):
        with pytest.raises(NetworkNamespaceGone, match="network namespace"):
            await netlink.run(lambda ipr: None, path)
    assert await netlink.run(lambda ipr: len(ipr.get_links())) > 0  # and the thread is at home


async def test_errors_of_the_kernel_are_os_errors(netlink: Netlink) -> None:
    with pytest.raises(OSError, match="No such device"):
        await netlink.run(lambda ipr: ipr.link("set", index=999999, state="up"))
