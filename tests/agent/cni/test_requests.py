"""What the server makes of a CNI request: environment, CNI_ARGS, network configuration, prevResult."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cni import v1beta1_pb2 as pb
from agent.cni.errors import CNIError
from agent.cni.naming import host_interface_name
from agent.cni.previous import previous_result
from agent.cni.requests import SUPPORTED_VERSIONS, Request, decode_request
from agent.cni.results import Attachment, add_result

CONFIG: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "name": "antrea",
    "type": "antrea",
    "ipam": {"type": "host-local"},
}
ARGS = "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=cid;K8S_POD_UID=u"


def message(config: Any = CONFIG, **changes: Any) -> pb.CniCmdRequest:
    args = {"container_id": "cid", "netns": "/run/netns/x", "ifname": "eth0", "args": ARGS, "path": "/opt"}
    args.update(changes)
    raw = config if isinstance(config, bytes) else json.dumps(config).encode()
    return pb.CniCmdRequest(cni_args=pb.CniCmdArgs(network_configuration=raw, **args))


def request(config: Any = CONFIG, command: str = "ADD", **changes: Any) -> Request:
    return decode_request(command, message(config, **changes))


def test_decoded() -> None:
    decoded = decode_request("ADD", message({**CONFIG, "mtu": 1300}), "/host")
    assert (decoded.namespace, decoded.pod, decoded.pod_uid) == ("ns", "web-0", "u")
    assert (decoded.netns, decoded.ifname, decoded.container_id) == ("/host/run/netns/x", "eth0", "cid")
    assert (decoded.version, decoded.config.mtu) == ("1.0.0", 1300)


@pytest.mark.parametrize(
    ("case", "command", "config", "changes", "code", "text"),
    [
        ("not JSON", "ADD", b"{", {}, 6, "Failed to decode network config"),
        ("wrong shape", "ADD", b'{"ipam": 3}', {}, 6, "Failed to decode network config"),
        ("not UTF-8", "ADD", b'{"name": "\xff"}', {}, 6, "Failed to decode network config"),
        (
            "version",
            "ADD",
            {**CONFIG, "cniVersion": "2.0.0"},
            {},
            1,
            "Unsupported CNI version [2.0.0], supported",
        ),
        ("CHECK too early", "CHECK", {**CONFIG, "cniVersion": "0.3.1"}, {}, 1, "does not allow CHECK"),
        ("GC too early", "GC", CONFIG, {}, 1, "does not allow GC"),
        ("STATUS too early", "STATUS", CONFIG, {}, 1, "does not allow STATUS"),
        ("type", "ADD", {**CONFIG, "type": "bridge"}, {}, 2, "does not support type=bridge"),
        ("IPAM", "ADD", {**CONFIG, "ipam": {"type": "dhcp"}}, {}, 2, "does not support ipam/type=dhcp"),
        ("no pod", "ADD", CONFIG, {"args": "K8S_POD_NAMESPACE=ns"}, 6, "K8S_POD_NAME is missing"),
        ("bad CNI_ARGS", "ADD", CONFIG, {"args": "nonsense"}, 6, "'nonsense' is not KEY=VALUE"),
        ("no container", "ADD", CONFIG, {"container_id": ""}, 4, "which is no container ID"),
        ("a path as container", "DEL", CONFIG, {"container_id": "../x"}, 4, "which is no container ID"),
        ("endless container", "DEL", CONFIG, {"container_id": "x" * 300}, 4, "which is no container ID"),
        ("no interface", "ADD", CONFIG, {"ifname": ""}, 4, "which is no interface name"),
        ("long interface", "ADD", CONFIG, {"ifname": "x" * 16}, 4, "which is no interface name"),
        ("a path as interface", "ADD", CONFIG, {"ifname": "a/b"}, 4, "which is no interface name"),
        ("relative netns", "ADD", CONFIG, {"netns": "x"}, 4, "which is no absolute path"),
        ("NUL in netns", "DEL", CONFIG, {"netns": "/x\0"}, 4, "NUL"),
    ],
)
def test_refused(case: str, command: str, config: Any, changes: dict[str, Any], code: int, text: str) -> None:
    with pytest.raises(CNIError) as caught:
        request(config, command, **changes)
    assert (caught.value.code, text in str(caught.value)) == (code, True), str(caught.value)


def test_del_needs_neither_pod_nor_namespace() -> None:
    assert request(command="DEL", args="", netns="").netns == ""


def test_a_configuration_without_version_is_of_the_first() -> None:
    assert request({key: value for key, value in CONFIG.items() if key != "cniVersion"}).version == "0.1.0"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.text(max_size=40), st.text(max_size=20), st.text(max_size=60))
def test_anything_at_all_is_decoded_or_refused(raw: bytes, container: str, ifname: str, args: str) -> None:
    for command in ("ADD", "DEL", "CHECK", "GC", "STATUS"):
        try:
            request(raw, command, container_id=container, ifname=ifname, args=args)
        except CNIError as error:
            assert error.code in (1, 2, 4, 6)  # noqa: PT017 - no error is fine too


ATTACHMENT = Attachment(
    "web-0-123456",
    "0a:00:00:00:00:01",
    "0a:00:00:00:00:02",
    (ipaddress.ip_interface("10.77.1.2/24"), ipaddress.ip_interface("fd00::2/64")),
    (ipaddress.ip_address("10.77.1.1"), ipaddress.ip_address("fd00::1")),
)


@pytest.mark.parametrize("version", SUPPORTED_VERSIONS)
def test_results_by_version(version: str) -> None:
    result = json.loads(add_result(request({**CONFIG, "cniVersion": version}), ATTACHMENT, 1450))
    assert result["cniVersion"] == version
    if version < "0.3.0":
        assert result["ip4"] == {
            "ip": "10.77.1.2/24",
            "gateway": "10.77.1.1",
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.77.1.1"}],
        }
        assert result["ip6"]["ip"] == "fd00::2/64"
        return
    assert [entry["name"] for entry in result["interfaces"]] == ["web-0-123456", "eth0"]
    assert ["sandbox" in entry for entry in result["interfaces"]] == [False, True]
    assert all(("mtu" in entry) == (version == "1.1.0") for entry in result["interfaces"])
    assert [entry["address"] for entry in result["ips"]] == ["10.77.1.2/24", "fd00::2/64"]
    assert [entry.get("version") for entry in result["ips"]] == (
        ["4", "6"] if version < "1.0.0" else [None, None]
    )
    assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.77.1.1"}, {"dst": "::/0", "gw": "fd00::1"}]


def test_dns_of_the_configuration_or_of_the_runtime() -> None:
    dns = {"nameservers": ["10.96.0.10"], "search": ["svc"]}
    assert request({**CONFIG, "dns": dns}).config.dns_result() == dns
    runtime = {"runtimeConfig": {"dns": {"servers": ["1.2.3.4"], "searches": ["x"]}}}
    assert request({**CONFIG, "dns": dns, **runtime}).config.dns_result() == {
        "nameservers": ["1.2.3.4"],
        "search": ["x"],
    }


def test_previous_result() -> None:
    previous = json.loads(add_result(request(), ATTACHMENT, 1450))
    addresses, mac = previous_result(request({**CONFIG, "prevResult": previous}, "CHECK"))
    assert (addresses, mac) == (set(ATTACHMENT.addresses), ATTACHMENT.pod_mac)


@pytest.mark.parametrize(
    ("previous", "code"),
    [
        ({"interfaces": [], "ips": []}, 7),
        ({"interfaces": [{"name": "eth0", "mac": ""}], "ips": []}, 7),  # without sandbox: the host's end
        ({"interfaces": [{"name": "eth0", "sandbox": "/x"}], "ips": [{"address": "nonsense"}]}, 6),
        ({"interfaces": 5}, 6),
        (None, 2),
    ],
)
def test_previous_result_refused(previous: Any, code: int) -> None:
    with pytest.raises(CNIError) as caught:
        previous_result(request({**CONFIG, "prevResult": previous}, "CHECK"))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("pod", "container", "ifname", "expected"),
    [
        # The two names that upstream v2.7.0 gave in a recording of a node.
        ("web-0", "cid-web-0", "eth0", "web-0-6156c2"),
        ("cli-0", "cid-cli-0", "eth0", "cli-0-1f0500"),
        ("a-rather-long-name", "cid-web-0", "eth0", "a-rather-6156c2"),
    ],
)
def test_host_interface_names(pod: str, container: str, ifname: str, expected: str) -> None:
    assert host_interface_name(pod, container, ifname) == expected
    assert host_interface_name(pod, container, "net1") != expected
