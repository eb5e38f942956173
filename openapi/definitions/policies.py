"""ClusterNetworkPolicy (ACNP) and NetworkPolicy (ANNP) of crd.antrea.io.

The two differ in what may be selected: Namespaces, ServiceAccounts and Services cluster-wide in an ACNP,
external entities in an ANNP. Rules differ by direction: IGMP queries come in and reports go out, ``scope`` is
a matter of ``from``, ``fqdn`` and ``toServices`` of ``to``.
"""

from __future__ import annotations

from dataclasses import dataclass

from openapi.definitions.resource import AGE, Column, Definition, Version, root
from openapi.definitions.schema import (
    Schema,
    boolean,
    choice,
    int_or_string,
    integer,
    items,
    one_of,
    record,
    required,
    string,
    strings,
)
from openapi.definitions.shapes import conditions, ip, ip_block, namespaced_name, selector

LOG_LABEL = "^(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?$"
METHODS = ("GET", "POST", "PUT", "HEAD", "DELETE", "TRACE", "OPTIONS", "CONNECT", "PATCH")
IGMP_QUERY = 0x11
IGMP_REPORTS = (0x12, 0x16, 0x22)  # of versions 1, 2 and 3
SCOPES = ("Cluster", "ClusterSet")


@dataclass(frozen=True, slots=True)
class Scope:
    """Which of the two kinds a schema is for: what can be selected depends on it."""

    cluster: bool

    @property
    def group(self) -> Schema:
        what = "ClusterGroup" if self.cluster else "Group of the policy's Namespace"
        return string(f"{what}, for its members.")

    @property
    def pods(self) -> Schema:
        where = "all Namespaces unless some are selected" if self.cluster else "the policy's Namespace"
        return selector(f"Pods, in {where}.")

    def applied_to(self) -> Schema:
        fields = self._workloads()
        if self.cluster:
            fields |= {
                "serviceAccount": _service_account(),
                "service": _node_port_service(),
                "nodeSelector": selector("Nodes themselves."),
            }
        else:
            fields["externalEntitySelector"] = _external_entities()
        return items("What the policy applies to. Not together with appliedTo in rules.", _one(fields))

    def rule_applied_to(self, ingress: bool) -> Schema:
        fields = self._workloads()
        if self.cluster:
            fields["serviceAccount"] = _service_account()
            if ingress:
                fields["service"] = _node_port_service()
        return items("What this rule applies to, where the policy itself does not say.", _one(fields))

    def _workloads(self) -> dict[str, Schema]:
        """What the appliedTo of a rule has in common with that of the policy."""
        fields = {"podSelector": self.pods, "group": self.group}
        if self.cluster:
            fields["namespaceSelector"] = selector("Namespaces, for all or some of their Pods.")
        return fields

    def peers(self, ingress: bool) -> Schema:
        pods = "all Namespaces" if self.cluster else "the policy's Namespace"
        fields = {
            "podSelector": selector(f"Pods, in {pods} unless some are selected."),
            "namespaceSelector": selector("Namespaces, for all or some of their Pods."),
            "nodeSelector": selector("Nodes, by their own addresses."),
            "ipBlock": ip_block("A range of addresses."),
            "group": self.group,
        }
        if self.cluster:
            fields |= {"namespaces": _namespaces(), "serviceAccount": _service_account()}
        else:
            fields["externalEntitySelector"] = _external_entities()
        if ingress:
            fields["scope"] = choice("How far selectors reach: this cluster or its ClusterSet.", *SCOPES)
            return items("Where the traffic comes from; anywhere if absent.", _one(fields))
        fields["fqdn"] = string("Domain name, exact or with wildcards (*).")
        return items("Where the traffic goes; anywhere if absent.", _one(fields))

    def services(self) -> Schema:
        reach = "Whether the Service is of this cluster or of its ClusterSet."
        namespace = string("Namespace of the Service.")
        if not self.cluster:
            namespace["description"] += " The policy's if absent."
        fields = {
            "name": required(string("Name of the Service.")),
            "namespace": required(namespace) if self.cluster else namespace,
            "scope": choice(reach, *SCOPES) if self.cluster else string(reach),
        }
        return items("Services that the traffic goes to. Not with to or ports.", record("A Service.", fields))

    def rules(self, ingress: bool) -> Schema:
        fields = {
            "action": required(choice("What happens to the traffic.", "Allow", "Drop", "Reject", "Pass")),
            "name": string("Name of the rule, unique in the policy. Generated if absent."),
            "enableLogging": boolean("Whether packets that match are logged."),
            "logLabel": string("Text that marks this rule's log lines.", pattern=LOG_LABEL),
            "ports": _ports(),
            "protocols": _protocols(ingress),
            "l7Protocols": _l7_protocols(),
            "from" if ingress else "to": self.peers(ingress),
        }
        if not ingress:
            fields["toServices"] = self.services()
        fields["appliedTo"] = self.rule_applied_to(ingress)
        direction = "coming to" if ingress else "leaving"
        text = f"Rules for traffic {direction} what is selected; the first that matches decides."
        return items(text, record("One rule.", fields))

    def policy(self) -> Schema:
        kind = "in the whole cluster" if self.cluster else "in its Namespace"
        priority = {
            "description": "Order inside the tier: lower goes first.",
            "type": "number",
            "format": "float",
            "minimum": 1.0,
            "maximum": 10000.0,
        }
        spec = record(
            "What is wanted.",
            {
                "tier": string("Tier that the policy belongs to; application if absent."),
                "priority": required(priority),
                "appliedTo": self.applied_to(),
                "ingress": self.rules(ingress=True),
                "egress": self.rules(ingress=False),
            },
        )
        return root(f"Rules for workloads {kind}, with tiers and priorities.", spec, _status())


def _one(fields: dict[str, Schema]) -> Schema:
    return record("A selection. Its fields limit each other where they may go together.", fields)


def _service_account() -> Schema:
    return namespaced_name("ServiceAccount, for the Pods that run under it.", "ServiceAccount")


def _external_entities() -> Schema:
    return selector("ExternalEntities, in the policy's Namespace unless others are selected.")


def _node_port_service() -> Schema:
    return namespaced_name("Service whose NodePort traffic is meant.", "Service")


def _namespaces() -> Schema:
    fields = {
        "match": choice("Self: the Namespace of the workload that the policy applies to.", "Self"),
        "sameLabels": strings("Labels that have one value in both Namespaces."),
    }
    return record("Namespaces in relation to that of the workload.", fields, minProperties=1, maxProperties=1)


def _ports() -> Schema:
    fields = {
        "protocol": choice("Transport protocol; TCP if absent.", "TCP", "UDP", "SCTP"),
        "port": int_or_string("Destination port, by number or by the name that a container gives it."),
        "endPort": integer("Last destination port of a range that begins with port."),
        "sourcePort": integer("Source port."),
        "sourceEndPort": integer("Last source port of a range that begins with sourcePort."),
    }
    return items("Ports; all if absent.", record("A port or a range of ports.", fields))


def _protocols(ingress: bool) -> Schema:
    icmp = {
        "icmpType": integer("ICMP type; all if absent.", 0, 255),
        "icmpCode": integer("ICMP code; all if absent.", 0, 255),
    }
    igmp_types = (IGMP_QUERY,) if ingress else IGMP_REPORTS
    igmp = {
        "igmpType": choice("IGMP message type.", *igmp_types),
        "groupAddress": ip("Multicast group that the message is about."),
    }
    fields = {"icmp": record("ICMP messages.", icmp), "igmp": record("IGMP messages.", igmp)}
    each = record("One protocol.", fields, **one_of("icmp", "igmp"))
    return items("Protocols that have no ports.", each)


def _l7_protocols() -> Schema:
    http = {
        "host": string("Host that is asked, exact or with wildcards."),
        "method": choice("Method of the request.", *METHODS),
        "path": string("Path of the request, exact or with wildcards."),
    }
    tls = {"sni": string("Server name that the client indicates.")}
    fields = {"http": record("HTTP requests.", http), "tls": record("TLS connections.", tls)}
    each = record("One protocol.", fields, **one_of("http", "tls"))
    return items("Application protocols that are let through.", each)


def _status() -> Schema:
    return record(
        "What is realized.",
        {
            "phase": string("Pending, Realizing, Realized or Failed."),
            "observedGeneration": integer("Generation of the policy that the other fields are about."),
            "currentNodesRealized": integer("Nodes that have realized it."),
            "desiredNodesRealized": integer("Nodes that must realize it."),
            "conditions": conditions("Realizable", "RealizationFailure"),
        },
    )


COLUMNS = (
    Column("Tier", ".spec.tier"),
    Column("Priority", ".spec.priority", "number", "float"),
    Column("Desired Nodes", ".status.desiredNodesRealized", "number", "int32"),
    Column("Current Nodes", ".status.currentNodesRealized", "number", "int32"),
    AGE,
)

CLUSTER_NETWORK_POLICY = Definition(
    "ClusterNetworkPolicy",
    "clusternetworkpolicies",
    ["acnp"],
    [Version("v1beta1", Scope(cluster=True).policy(), COLUMNS, status=True)],
)

NETWORK_POLICY = Definition(
    "NetworkPolicy",
    "networkpolicies",
    ["annp", "anp"],
    [Version("v1beta1", Scope(cluster=False).policy(), COLUMNS, status=True)],
    namespaced=True,
)
