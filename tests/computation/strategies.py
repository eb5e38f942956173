"""Random Kubernetes objects, small enough that they meet: few names, few labels, every feature."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Manifest = dict[str, Any]

NAMESPACES = ("x", "y", "z")
PODS = ("a", "b", "c", "d")
POLICIES = ("p", "q", "r")
NODES = ("node-1", "node-2", "node-3")

names = st.sampled_from
labels = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["web", "db", ""]), max_size=2)

expressions = st.one_of(
    st.builds(
        lambda key, operator, values: {"key": key, "operator": operator, "values": values},
        st.sampled_from(["app", "tier"]),
        st.sampled_from(["In", "NotIn"]),
        st.lists(st.sampled_from(["web", "db", "other"]), min_size=1, max_size=2),
    ),
    st.builds(
        lambda key, operator: {"key": key, "operator": operator},
        st.sampled_from(["app", "tier"]),
        st.sampled_from(["Exists", "DoesNotExist"]),
    ),
)
selectors = st.one_of(
    st.just({}),
    labels.map(lambda match: {"matchLabels": match}),
    st.lists(expressions, min_size=1, max_size=2).map(lambda found: {"matchExpressions": found}),
)

cidrs = st.sampled_from(["10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0", "fd00::/8", "10.0.0.2/31", "nonsense"])
blocks = st.one_of(
    cidrs.map(lambda cidr: {"ipBlock": {"cidr": cidr}}),
    st.sampled_from(["10.0.0.2/32", "10.0.0.0/30"]).map(
        lambda cidr: {"ipBlock": {"cidr": "10.0.0.0/16", "except": [cidr]}}
    ),
)
peers = st.one_of(
    blocks,
    st.builds(
        lambda pods, namespaces: {
            key: value
            for key, value in (("podSelector", pods), ("namespaceSelector", namespaces))
            if value is not None
        },
        st.none() | selectors,
        st.none() | selectors,
    ).filter(bool),
)
ports = st.one_of(
    st.builds(
        lambda protocol, port: {"protocol": protocol, "port": port},
        st.sampled_from(["TCP", "UDP", "SCTP"]),
        st.sampled_from([80, 81, "http"]),
    ),
    st.just({}),
    st.just({"port": 80, "endPort": 90}),
)


def _rules(peers_name: str) -> st.SearchStrategy[list[Manifest]]:
    return st.lists(
        st.builds(
            lambda peers, ports: {
                key: value for key, value in ((peers_name, peers), ("ports", ports)) if value
            },
            st.lists(peers, max_size=2),
            st.lists(ports, max_size=2),
        ),
        max_size=2,
    )


@st.composite
def network_policies(draw: st.DrawFn) -> Manifest:
    return {
        "kind": "NetworkPolicy",
        "metadata": {
            "namespace": draw(names(NAMESPACES)),
            "name": draw(names(POLICIES)),
            "generation": draw(st.integers(1, 2)),
        },
        "spec": {
            "podSelector": draw(selectors),
            "policyTypes": draw(st.lists(st.sampled_from(["Ingress", "Egress"]), unique=True)),
            "ingress": draw(_rules("from")),
            "egress": draw(_rules("to")),
        },
    }


@st.composite
def pods(draw: st.DrawFn) -> Manifest:
    namespace, name = draw(names(NAMESPACES)), draw(names(PODS))
    ips = draw(st.sampled_from([["10.0.0.1"], ["10.0.0.2", "fd00::2"], ["10.0.1.1"], ["fd00::3"], []]))
    port = draw(st.sampled_from([None, 80, 81]))
    ports = [] if port is None else [{"name": "http", "containerPort": port}]
    return {
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": draw(labels)},
        "spec": {
            "nodeName": draw(st.sampled_from(["", *NODES])),
            "hostNetwork": draw(st.sampled_from([False, False, False, True])),
            "serviceAccountName": draw(st.sampled_from(["", "default"])),
            "containers": [{"name": "c", "ports": ports}],
        },
        "status": {
            "phase": draw(st.sampled_from(["Running", "Running", "Pending", "Succeeded", "Failed"])),
            "podIPs": [{"ip": ip} for ip in ips],
        },
    }


@st.composite
def namespaces(draw: st.DrawFn) -> Manifest:
    metadata: Manifest = {"name": draw(names(NAMESPACES)), "labels": draw(labels)}
    annotation = draw(st.sampled_from([None, "true", "false", "yes", "1"]))
    if annotation is not None:
        metadata["annotations"] = {"networkpolicy.antrea.io/enable-logging": annotation}
    return {"kind": "Namespace", "metadata": metadata}
