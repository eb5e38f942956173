"""The hand-written encodings against the generated messages and upstream's byte samples."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apis.addresses import ANY_IPV4, CIDR, parse_cidr, to_bytes
from apis.controlplane import v1beta2_pb2 as pb
from apis.controlplane import wire
from apis.controlplane.json import to_json
from apis.controlplane.v1beta2 import decode_message
from apis.envelope import wrap


def hexed(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


# Bytes that upstream's marshallers made.
SAMPLES = [
    ("an empty Service", wire.service(None), "3a00"),
    (
        "a Service with a number",
        wire.service("TCP", 80),
        "0a035443501206080010501a003a00",
    ),
    ("a Service with a name", wire.service(None, "http"), "120a080110001a04687474703a00"),
    (
        "a rule",
        wire.rule_field("In", b"", [wire.service("TCP", 80), wire.service(None, "http")], -1, "Allow", False)[
            2:
        ],
        "0a02496e 1200 1a00 220f0a035443501206080010501a003a00 220e120a080110001a04687474703a00"
        "28ffffffffffffffffff01 3205416c6c6f77 3800 4a00 5a00",
    ),
    (
        "metadata without anything",
        wire.metadata_field(b"", b"", ""),
        "0a10 0a00 1200 1a00 2200 2a00 3200 3800 4200",
    ),
]


@pytest.mark.parametrize("made, expected", [row[1:] for row in SAMPLES], ids=[row[0] for row in SAMPLES])
def test_samples(made: bytes, expected: str) -> None:
    assert made == hexed(expected)


def test_an_enveloped_group() -> None:
    """The whole body of a group with one pod, 112 bytes."""
    member = wire.pod_field("p1", wire.namespace_field("ns1")) + wire.ip_field(to_bytes("10.0.0.1"))
    message = wire.metadata_field(b"ag1", b"u1", "") + wire.member_field(member)
    body = wrap("controlplane.antrea.io/v1beta2", "AddressGroup", message)
    assert len(body) == 112
    assert body.hex() == (
        "6b387300"
        "0a2e0a1e" + b"controlplane.antrea.io/v1beta2".hex() + "120c" + b"AddressGroup".hex() + "1236"
        "0a150a036167311200" + "1a0022002a0275313200" + "38004200"
        "121d0a090a02703112036e73311a1000000000000000000000ffff0a000001"
        "1a002200"
    )


names = st.text(alphabet="abcxyz-09", max_size=200)
cidrs = st.builds(CIDR, st.binary(min_size=16, max_size=16), st.integers(0, 128))


@given(
    name=names,
    namespace=names,
    ips=st.lists(st.binary(min_size=16, max_size=16) | st.binary(min_size=4, max_size=4), max_size=3),
    ports=st.lists(
        st.tuples(st.integers(1, 65535), names, st.sampled_from(["TCP", "UDP", "SCTP"])), max_size=3
    ),
)
def test_members(name: str, namespace: str, ips: list[bytes], ports: list[tuple[int, str, str]]) -> None:
    member = wire.pod_field(name, wire.namespace_field(namespace))
    identity = member + b"".join(map(wire.ip_field, ips))
    member = identity + b"".join(wire.port_field(*port) for port in ports)
    group = pb.AddressGroup.FromString(wire.metadata_field(b"g", b"g", "5") + wire.member_field(member))
    (decoded,) = group.groupMembers
    assert (decoded.pod.name, decoded.pod.namespace, list(decoded.ips)) == (name, namespace, ips)
    assert [(port.port, port.name, port.protocol) for port in decoded.ports] == ports
    assert (group.metadata.name, group.metadata.uid, group.metadata.resourceVersion) == ("g", "g", "5")
    # Encoded again by the generated classes the bytes are the same: order, and what is written when empty.
    assert decoded.SerializeToString() == member
    assert wire.member_identity(wire.member_field(member)) == identity


services = st.tuples(
    st.none() | st.sampled_from(["TCP", "UDP", "SCTP"]),
    st.none() | st.integers(0, 65535) | names,
    st.none() | st.integers(0, 65535),
)
rules = st.tuples(
    st.sampled_from(["In", "Out"]),
    st.lists(names, max_size=3),
    st.lists(st.tuples(cidrs, st.lists(cidrs, max_size=2)), max_size=2),
    st.lists(services, max_size=2),
    st.sampled_from([(0, None), (-1, "Allow"), (3, "Drop")]),
    st.booleans(),
)


def policy_bytes(uid: str, generation: int, made: list[tuple], name: str) -> tuple[bytes, bytes]:  # type: ignore[type-arg]
    body = b"".join(
        wire.rule_field(
            direction,
            wire.peer(groups, [wire.ip_block(cidr, excepted) for cidr, excepted in blocks]),
            [wire.service(*each) for each in served],
            priority,
            action,
            logging,
        )
        for direction, groups, blocks, served, (priority, action), logging in made
    )
    body += wire.applied_to_field("group") + wire.source_field(
        b"K8sNetworkPolicy", wire.namespace_field("ns"), name, uid
    )
    return wire.metadata_field(uid.encode(), uid.encode(), "9", generation), body


@given(names, st.integers(0, 2**40), st.lists(rules, max_size=3), names)
def test_policies(uid: str, generation: int, made: list[tuple], name: str) -> None:  # type: ignore[type-arg]
    metadata, body = policy_bytes(uid, generation, made, name)
    message = metadata + body
    decoded = pb.NetworkPolicy.FromString(message)
    assert decoded.SerializeToString() == message
    assert decoded.metadata.generation == generation
    assert decoded.sourceRef.name == name
    assert list(decoded.appliedToGroups) == ["group"]
    for rule, (direction, groups, blocks, served, (priority, action), logging) in zip(
        decoded.rules, made, strict=True
    ):
        peer = getattr(rule, "from") if direction == "In" else rule.to
        assert list(peer.addressGroups) == groups
        assert [(block.cidr.ip, block.cidr.prefixLength) for block in peer.ipBlocks] == [b[0] for b in blocks]
        assert (rule.direction, rule.priority, rule.enableLogging) == (direction, priority, logging)
        assert (rule.action if rule.HasField("action") else None) == action
        assert len(rule.services) == len(served)
    assert json.loads(to_json("NetworkPolicy", message)) == decode_message("NetworkPolicy", message)


@given(st.lists(rules, max_size=3), st.booleans())
def test_logging_is_set_in_every_rule(made: list[tuple], logging: bool) -> None:  # type: ignore[type-arg]
    _, body = policy_bytes("u", 1, made, "n")
    _, expected = policy_bytes("u", 1, [(*rule[:5], logging) for rule in made], "n")
    assert wire.with_logging(body, logging) == expected


def test_any_address_in_json() -> None:
    """A prefix length of 0 is left out."""
    message = wire.metadata_field(b"u", b"u", "") + wire.rule_field(
        "In", wire.peer((), [wire.ip_block(ANY_IPV4, [parse_cidr("10.0.0.7/24")])]), (), 0, None, True
    )
    assert json.loads(to_json("NetworkPolicy", message))["rules"] == [
        {
            "direction": "In",
            "from": {
                "ipBlocks": [
                    {
                        "cidr": {"ip": "AAAAAAAAAAAAAP//AAAAAA=="},
                        "except": [{"ip": "AAAAAAAAAAAAAP//CgAABw==", "prefixLength": 24}],
                    }
                ]
            },
            "to": {},
            "enableLogging": True,
        }
    ]


@given(st.integers(-(2**31), 2**62))
def test_varints(value: int) -> None:
    made = wire.varint(value)
    read, end = wire.read_varint(made, 0)
    assert end == len(made)
    assert read == value % 2**64
