"""AntreaNodeConfig, BGPPolicy and NodeLatencyMonitor: what Nodes do besides policies."""

from __future__ import annotations

from openapi.definitions.resource import AGE, Column, Definition, Version, root
from openapi.definitions.schema import (
    Schema,
    boolean,
    cel,
    int32,
    items,
    record,
    required,
    string,
    strings,
)
from openapi.definitions.shapes import ip, selector

INTERFACE = {"minLength": 1, "maxLength": 15, "pattern": "^[a-zA-Z0-9._-]+$"}
_VLAN = "(?:[0-9]{1,3}|[1-3][0-9]{3}|40[0-8][0-9]|409[0-4])"
VLANS = f"^({_VLAN}|{_VLAN}-{_VLAN})$"
KEPT_BRIDGES = (
    "oldSelf.all(o, self.exists(s, s.bridgeName == o.bridgeName))",
    "bridgeName is immutable — existing bridge names cannot be removed or renamed",
)


def _list_map(key: str) -> Schema:
    """Server-side apply merges the items by this key."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def _node_config() -> Schema:
    vlans = strings("VLANs that the interface carries: 7, 100-200.", pattern=VLANS)
    interface = {
        "name": required(string("Name of the interface.", **INTERFACE)),
        "allowedVLANs": vlans | {"x-kubernetes-list-type": "set"},
    }
    interfaces = items(
        "Interfaces that are ports of the bridge.",
        record("An interface of the Node.", interface),
        maxItems=8,
        **_list_map("name"),
    )
    bridge = {
        "bridgeName": required(string("Name of the bridge. Cannot be changed.", **INTERFACE)),
        "physicalInterfaces": interfaces,
        "enableMulticastSnooping": boolean("Whether the bridge learns multicast members.", default=False),
    }
    bridges = items(
        "OVS bridges for secondary networks.",
        record("An OVS bridge.", bridge),
        maxItems=1,
        **_list_map("bridgeName"),
        **cel(KEPT_BRIDGES),
    )
    spec = record(
        "What is wanted.",
        {
            "nodeSelector": required(selector("Nodes that are configured so.", typed=False)),
            "secondaryNetwork": record("Networks besides the Pods' own.", {"ovsBridges": bridges}),
        },
    )
    text = "Configuration of Nodes chosen by their labels. The oldest that matches a Node holds."
    return root(text, required(spec))


def _asn(description: str) -> Schema:
    return int32(description, 1, 65535)


def _bgp() -> Schema:
    peer = {
        "address": required(ip("Address of the peer.")),
        "port": int32("BGP port of the peer.", 1, 65535, default=179),
        "asn": required(_asn("Autonomous system of the peer.")),
        "multihopTTL": int32("Hops that the peer may be away.", 1, 255, default=1),
        "gracefulRestartTimeSeconds": int32(
            "Seconds that the peer keeps routes during a restart.", 1, 3600, default=120
        ),
    }
    members = items("Autonomous systems of the confederation.", _asn("Member."))
    del members["items"]["description"]
    confederation = {"identifier": _asn("Number of the confederation."), "memberASNs": members}
    ip_types = items(
        "Addresses of Services that are advertised.",
        {"type": "string", "enum": ["ClusterIP", "LoadBalancerIP", "ExternalIP"]},
    )
    advertisements = {
        "service": record("Advertise addresses of Services.", {"ipTypes": ip_types}),
        "pod": record("Advertise the Node's Pod subnets, if present."),
        "egress": record("Advertise Egress addresses of the Node, if present."),
    }
    spec = record(
        "What is wanted.",
        {
            "nodeSelector": required(selector("Nodes that speak BGP so.", typed=False)),
            "localASN": required(_asn("Autonomous system of the Nodes.")),
            "listenPort": int32("BGP port of the Nodes.", 1, 65535, default=179),
            "confederation": record("Confederation that the Nodes belong to.", confederation),
            "advertisements": record("What is advertised.", advertisements),
            "bgpPeers": items("Routers that are spoken to.", record("A router.", peer)),
        },
    )
    text = "What Nodes advertise over BGP, and to whom. The oldest that matches a Node holds."
    return root(text, required(spec))


def _latency() -> Schema:
    interval = int32("Seconds between two probes of a Node.", 1, default=60)
    spec = record("What is wanted.", {"pingIntervalSeconds": required(interval)})
    schema = root("Nodes measure how long packets take between them. Its name is default.", required(spec))
    name = {"type": "string", "pattern": "^default$"}
    schema["properties"]["metadata"] = {"type": "object", "properties": {"name": name}}
    return schema


ANTREA_NODE_CONFIG = Definition(
    "AntreaNodeConfig", "antreanodeconfigs", ["anc"], [Version("v1alpha1", _node_config(), [AGE])]
)

BGP_POLICY = Definition(
    "BGPPolicy",
    "bgppolicies",
    [],
    [Version("v1alpha1", _bgp(), [Column("Local ASN", ".spec.localASN", "integer"), AGE])],
    labelled=False,
)

NODE_LATENCY_MONITOR = Definition(
    "NodeLatencyMonitor",
    "nodelatencymonitors",
    ["nlm"],
    [
        Version(
            "v1alpha1",
            _latency(),
            [Column("PingIntervalSeconds", ".spec.pingIntervalSeconds"), AGE],
        )
    ],
    labelled=False,
)
