"""Partial decoding of Kubernetes' lists and watch lines."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from apis.kubernetes.codec import NAMESPACES, NETWORK_POLICIES, PODS, Malformed, WatchEvent, WatchStatus
from apis.kubernetes.core import ContainerPort, Pod
from apis.labels import LabelSelector

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "web",
        "namespace": "shop",
        "uid": "u1",
        "resourceVersion": "7",
        "labels": {"app": "web"},
        "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
    },
    "spec": {
        "nodeName": "node-1",
        "serviceAccountName": "default",
        "tolerations": [{"key": "x"}],
        "containers": [{"name": "c", "ports": [{"containerPort": 80, "name": "http"}]}, {"name": "d"}],
    },
    "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]},
}


def line(kind: str, item: object) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode()


def test_a_pod() -> None:
    _, (pod,), malformed = PODS.page(json.dumps({"kind": "PodList", "items": [POD]}).encode())
    assert not malformed
    assert (pod.metadata.namespace, pod.metadata.name, pod.metadata.labels) == ("shop", "web", {"app": "web"})
    assert pod.spec.containers is not None
    assert pod.spec.containers[0].ports == (ContainerPort(80, "http", "TCP"),)
    assert pod.status.pod_ips is not None
    assert [address.ip for address in pod.status.pod_ips] == ["10.0.0.1", "fd00::1"]


def test_list_metadata_and_null_items() -> None:
    metadata, items, _ = PODS.page(b'{"metadata":{"resourceVersion":"9","continue":"abc"},"items":null}')
    assert (metadata.resource_version, metadata.continue_, items) == ("9", "abc", [])


def test_nulls_count_as_left_out() -> None:
    text = b'{"metadata":{"name":"p","labels":null},"spec":{"containers":null},"status":{"podIPs":null}}'
    assert PODS.object(text) == Pod(metadata=msgspec.structs.replace(Pod().metadata, name="p"))


def test_one_malformed_item_costs_only_itself() -> None:
    broken = {"metadata": {"name": "bad", "namespace": "shop"}, "spec": {"hostNetwork": "yes"}}
    _, items, malformed = PODS.page(json.dumps({"items": [POD, broken, POD]}).encode())
    assert [pod.metadata.name for pod in items] == ["web", "web"]
    assert [(m.kind, m.namespace, m.name) for m in malformed] == [("Pod", "shop", "bad")]
    assert "$.spec.hostNetwork" in malformed[0].problem
    assert "Pod shop/bad is malformed" in str(malformed[0])


def test_events() -> None:
    event = PODS.event(line("MODIFIED", POD))
    assert isinstance(event, WatchEvent)
    assert event.type == "MODIFIED"
    assert isinstance(event.object, Pod)
    bookmark = PODS.event(line("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "12"}}))
    assert isinstance(bookmark, WatchEvent)
    assert isinstance(bookmark.object, Pod)
    assert bookmark.object.metadata.resource_version == "12"


def test_an_error_event_carries_a_status() -> None:
    status = {
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "code": 410,
        "reason": "Expired",
        "message": "m",
    }
    assert PODS.event(line("ERROR", status)) == WatchEvent("ERROR", WatchStatus(410, "Expired", "m"))


def test_a_malformed_event_names_its_object() -> None:
    cases: list[dict[str, Any]] = [{"metadata": {"labels": 1}}, {"metadata": {}, "spec": []}]
    for broken in cases:
        broken["metadata"].update(name="x", namespace="y")
        event = PODS.event(line("ADDED", broken))
        assert isinstance(event, Malformed)
        assert (event.namespace, event.name) == ("y", "x")
    event = PODS.event(line("ADDED", 5))
    assert isinstance(event, Malformed)
    assert event.name == ""


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"type":1}', b"\xff\xfe", b"null"])
def test_bytes_that_are_no_event(text: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        PODS.event(text)


def test_a_network_policy_tells_none_from_empty() -> None:
    policy = NETWORK_POLICIES.object(
        b'{"metadata":{"name":"p","generation":3},"spec":{"podSelector":{},"policyTypes":["Ingress"],"ingress":['
        b'{"from":[{"podSelector":{}},{"ipBlock":{"cidr":"10.0.0.0/8","except":["10.1.0.0/16"]}}],'
        b'"ports":[{"port":"http"},{"port":80,"endPort":90,"protocol":"UDP"}]},{}]}}'
    )
    assert policy.spec.ingress is not None
    first, second = policy.spec.ingress
    assert first.peers is not None
    assert first.peers[0].pod_selector == LabelSelector()
    assert first.peers[0].namespace_selector is None
    assert first.ports is not None
    assert [(p.protocol, p.port, p.end_port) for p in first.ports] == [(None, "http", None), ("UDP", 80, 90)]
    assert (second.peers, second.ports, policy.spec.egress) == (None, None, None)


def test_the_logging_annotation_of_a_namespace() -> None:
    text = (
        b'{"metadata":{"name":"n","annotations":{"x":"y","networkpolicy.antrea.io/enable-logging":"true"}}}'
    )
    annotations = NAMESPACES.object(text).metadata.annotations
    assert annotations is not None
    assert annotations.enable_logging == "true"
