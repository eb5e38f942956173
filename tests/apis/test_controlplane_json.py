"""The two encodings of controlplane.antrea.io/v1beta2 and of meta/v1, held against each other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apis.controlplane import v1beta2
from apis.meta import builtin
from apis.meta import v1 as meta
from apis.meta.convert import ConvertError

RULE = {
    "direction": "In",
    "from": {},
    "to": {},
    "services": [{"protocol": "TCP", "port": 80}, {"port": "http"}],
    "priority": -1,
    "action": "Allow",
    "enableLogging": False,
}
RULE_BYTES = bytes.fromhex(
    "0a02496e 1200 1a00 220f0a035443501206080010501a003a00 220e120a080110001a04687474703a00"
    "28ffffffffffffffffff01 3205416c6c6f77 3800 4a00 5a00"
)


@pytest.mark.parametrize(
    ("kind", "document", "expected"),
    [
        ("NetworkPolicyRule", RULE, RULE_BYTES),
        ("Service", {}, b"\x3a\x00"),
        ("IPNet", {}, b"\x10\x00"),
        ("GroupMember", {}, b""),
        ("NetworkPolicyPeer", {"labelIdentities": [1, 300]}, b"\x28\x01\x28\xac\x02"),
    ],
)
def test_bytes_as_upstream_writes_them(kind: str, document: dict[str, Any], expected: bytes) -> None:
    assert v1beta2.encode_message(kind, document) == expected
    assert v1beta2.decode_message(kind, expected) == document


@pytest.mark.parametrize(
    ("kind", "given_json", "read_back"),
    [
        # zero is left out where it is no pointer, and kept where it is
        ("NetworkPolicyRule", {"priority": 0}, {"from": {}, "to": {}, "enableLogging": False}),
        ("NetworkPolicy", {"priority": 0.0}, {"metadata": {}, "priority": 0.0}),
        ("Service", {"icmpType": 0}, {"icmpType": 0}),
        ("IPNet", {"ip": "AAAAAA==", "prefixLength": 0}, {"ip": "AAAAAA=="}),
        # the odd ones
        (
            "EgressGroupPatch",
            {"name": "e1", "uid": "u1", "AddedGroupMembers": [{"pod": {"name": "p"}}]},
            {
                "name": "e1",
                "uid": "u1",
                "AddedGroupMembers": [{"pod": {"name": "p"}}],
                "RemovedGroupMembers": None,
            },
        ),
        (
            "SupportBundleCollection",
            {},
            {"metadata": {}, "expiredAt": None, "fileServer": {"url": ""}, "authentication": {}},
        ),
        (
            "ClusterGroupMembers",
            {"metadata": {"name": "g"}},
            {
                "metadata": {"name": "g"},
                "effectiveMembers": [],
                "effectiveIPBlocks": [],
                "totalMembers": 0,
                "totalPages": 0,
                "currentPage": 0,
            },
        ),
        (
            "NodeStatsSummary",
            {"networkPolicies": [{"trafficStats": {"packets": 3}}]},
            {"metadata": {}, "networkPolicies": [{"networkPolicy": {}, "trafficStats": {"packets": 3}}]},
        ),
    ],
)
def test_json_conventions(kind: str, given_json: dict[str, Any], read_back: dict[str, Any]) -> None:
    assert v1beta2.decode_message(kind, v1beta2.encode_message(kind, given_json)) == read_back


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        ("NoSuchKind", {}),
        ("NetworkPolicy", {"rules": 5}),
        ("NetworkPolicy", {"rules": [5]}),
        ("NetworkPolicy", {"tierPriority": "high"}),
        ("NetworkPolicy", {"tierPriority": 2**40}),
        ("IPNet", {"ip": "not base64!"}),
        ("GroupMember", {"pod": "p"}),
        ("AddressGroup", {"metadata": {"labels": {"a": 1}}}),
        ("AddressGroup", {"metadata": {"creationTimestamp": "yesterday"}}),
    ],
)
def test_objects_that_do_not_fit_are_refused_by_name(kind: str, document: dict[str, Any]) -> None:
    with pytest.raises(ConvertError):
        v1beta2.encode_message(kind, document)


@settings(max_examples=100)
@given(
    st.sampled_from(["NetworkPolicyStatus", "NetworkPolicy", "AddressGroup", "NodeStatsSummary"]),
    st.binary(max_size=80),
)
def test_random_bytes_are_a_message_or_refused(kind: str, data: bytes) -> None:
    try:
        document = v1beta2.decode_message(kind, data)
    except ConvertError:
        return
    assert v1beta2.decode_message(kind, v1beta2.encode_message(kind, document)) == document


METADATA = {
    "name": "n",
    "namespace": "ns",
    "uid": "u",
    "resourceVersion": "5",
    "generation": 3,
    "creationTimestamp": "2026-01-02T03:04:05Z",
    "deletionGracePeriodSeconds": 0,
    "labels": {"a": "b"},
    "annotations": {"c": ""},
    "ownerReferences": [{"kind": "K", "name": "o", "uid": "v", "apiVersion": "v1", "controller": False}],
    "finalizers": ["f"],
}


def test_metadata_and_status_in_both_encodings() -> None:
    document = {"metadata": METADATA}
    encoded = meta.encode_kind("PartialObjectMetadata", document)
    assert meta.decode_kind("PartialObjectMetadata", encoded) == document
    status = {
        "metadata": {},
        "status": "Failure",
        "message": "m",
        "reason": "NotFound",
        "details": {"name": "x", "causes": [{"reason": "r", "message": "m", "field": "f"}]},
        "code": 404,
    }
    assert meta.decode_kind("Status", meta.encode_kind("Status", status)) == status
    assert meta.encode_object_meta({}) == bytes.fromhex("0a00 1200 1a00 2200 2a00 3200 3800 4200")


# --- Kubernetes' own kinds, as kubectl create sends them ---


def message(*parts: tuple[int, bytes | int]) -> bytes:
    from apis.envelope import field, varint

    return b"".join(
        field(number, value) if isinstance(value, bytes) else varint(number << 3) + varint(value)
        for number, value in parts
    )


NAMED_PORT = message((1, b"TCP"), (2, message((1, 1), (2, 0), (3, b"web"))))


@pytest.mark.parametrize(
    ("api_version", "kind", "data", "expected"),
    [
        (
            "v1",
            "Namespace",
            message((1, message((1, b"foo"), (2, b""))), (2, b""), (3, b"")),
            {"metadata": {"name": "foo"}, "spec": {}, "status": {}},
        ),
        (
            "v1",
            "ConfigMap",
            message((1, message((1, b"c"))), (2, message((1, b"k"), (2, b"v"))), (4, 0)),
            {"metadata": {"name": "c"}, "data": {"k": "v"}, "immutable": False},
        ),
        (
            "v1",
            "Secret",
            message((2, message((1, b"k"), (2, b"\x00\xff"))), (3, b"Opaque")),
            {"data": {"k": "AP8="}, "type": "Opaque"},
        ),
        (
            "networking.k8s.io/v1",
            "NetworkPolicy",
            message((2, message((1, b""), (2, message((1, NAMED_PORT))), (4, b"Ingress")))),
            {
                "spec": {
                    "podSelector": {},
                    "ingress": [{"ports": [{"protocol": "TCP", "port": "web"}]}],
                    "policyTypes": ["Ingress"],
                }
            },
        ),
        (
            "authorization.k8s.io/v1",
            "SelfSubjectAccessReview",
            message((2, message((1, message((1, b"ns"), (2, b"get"), (5, b"pods")))))),
            {"spec": {"resourceAttributes": {"namespace": "ns", "verb": "get", "resource": "pods"}}},
        ),
    ],
)
def test_built_in_kinds(api_version: str, kind: str, data: bytes, expected: dict[str, Any]) -> None:
    assert builtin.knows(api_version, kind)
    assert builtin.decode(api_version, kind, data) == expected


@settings(max_examples=100)
@given(st.sampled_from(["Pod", "Service", "Secret", "Node"]), st.binary(max_size=120))
def test_random_bytes_as_built_in_kinds(kind: str, data: bytes) -> None:
    try:
        assert isinstance(builtin.decode("v1", kind, data), dict)
    except ConvertError:
        pass
