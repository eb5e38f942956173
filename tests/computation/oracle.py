"""What Kubernetes NetworkPolicies mean, computed from scratch and by brute force.

Reads manifests (documents as kubectl shows them: Namespaces, Pods, NetworkPolicies; others are ignored) and
imports nothing of the project, so that the incremental graph and the data plane can be held to it:

- `Oracle.allowed` says whether a packet from one pod to another passes: the verdict for end-to-end tests.
- `Oracle.policies`, `.address_groups`, `.applied_to_groups` say what the controller has to serve, and to
whom.

Everything is looked at anew for every question. Slow, and meant to be: nothing can be stale.
"""

from __future__ import annotations

import base64
import ipaddress
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Manifest = Mapping[str, Any]
Key = tuple[str, str]  # namespace, name
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

GROUP_NAMESPACE = uuid.UUID("e4f24a48-ca1f-4d5b-819c-ea7632b22115")
LOGGING = "networkpolicy.antrea.io/enable-logging"
SERVICE_ACCOUNT = "internal.antrea.io/service-account"
ANY_ADDRESS = [
    {"cidr": {"ip": base64.b64encode(bytes(10) + b"\xff\xff" + bytes(4)).decode()}},
    {"cidr": {"ip": base64.b64encode(bytes(16)).decode()}},
]


@dataclass(frozen=True)
class Member:
    """A member of a group: addresses only in address groups. ``ports``: (number, name, protocol)."""

    namespace: str
    pod: str
    ips: tuple[str, ...] = ()
    ports: tuple[tuple[int, str, str], ...] = ()


@dataclass(frozen=True)
class AddressGroup:
    members: frozenset[Member]
    span: frozenset[str]


@dataclass(frozen=True)
class AppliedToGroup:
    members: Mapping[str, frozenset[Member]]  # by node

    @property
    def span(self) -> frozenset[str]:
        return frozenset(self.members)


@dataclass(frozen=True)
class Policy:
    document: Manifest  # as the API serves it, without resourceVersion
    span: frozenset[str]


def split(pod: str | Key) -> Key:
    """``namespace/name`` or a pair."""
    if isinstance(pod, str):
        namespace, _, name = pod.partition("/")
        return namespace, name
    return pod


class Oracle:
    """The meaning of a set of objects. Later manifests of the same kind and name replace earlier ones."""

    def __init__(self, manifests: Iterable[Manifest] = ()) -> None:
        self.namespaces: dict[str, Manifest] = {}
        self.pods: dict[Key, Manifest] = {}
        self.network_policies: dict[Key, Manifest] = {}
        for manifest in manifests:
            self.apply(manifest)

    def apply(self, manifest: Manifest) -> None:
        meta = manifest["metadata"]
        key = (meta.get("namespace", "default"), meta["name"])
        match manifest["kind"]:
            case "Namespace":
                self.namespaces[meta["name"]] = manifest
            case "Pod":
                self.pods[key] = manifest
            case "NetworkPolicy":
                self.network_policies[key] = manifest

    def delete(self, kind: str, namespace: str, name: str) -> None:
        match kind:
            case "Namespace":
                self.namespaces.pop(name, None)
            case "Pod":
                self.pods.pop((namespace, name), None)
            case "NetworkPolicy":
                self.network_policies.pop((namespace, name), None)

    # --- what is selected ---

    def _namespace_selected(self, selector: Manifest, name: str) -> bool:
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            return True
        namespace = self.namespaces.get(name)
        return namespace is not None and matches(selector, namespace["metadata"].get("labels") or {})

    def _selects(self, key: Key, home: str, pods: Manifest | None, namespaces: Manifest | None) -> bool:
        """Whether the selectors of an object in namespace ``home`` select a pod."""
        if namespaces is None:
            if key[0] != home:
                return False
        elif not self._namespace_selected(namespaces, key[0]):
            return False
        pod = self.pods[key]
        labels = dict(pod["metadata"].get("labels") or {})
        account = pod["spec"].get("serviceAccountName")
        if account:
            labels[SERVICE_ACCOUNT] = account
        return pods is None or matches(pods, labels)

    def _takes_part(self, key: Key) -> bool:
        """Pods on the host's network and pods that have ended are in no group."""
        pod = self.pods[key]
        phase = (pod.get("status") or {}).get("phase")
        return not pod["spec"].get("hostNetwork") and phase not in ("Succeeded", "Failed")

    def _applies_to(self, policy: Manifest, key: Key) -> bool:
        home = policy["metadata"]["namespace"]
        return self._takes_part(key) and self._selects(
            key, home, policy["spec"].get("podSelector") or {}, None
        )

    # --- verdicts ---

    def allowed(
        self,
        source: str | Key,
        destination: str | Key,
        protocol: str,
        port: int,
        family: int | None = None,
    ) -> bool:
        """Whether the policies let a connection pass; not whether anybody listens.

        ``family`` 4 or 6 picks the addresses; None takes each pod's first. A pod always reaches itself (that
        traffic never leaves it), and a pod on the host's network always reaches the pods of its node.
        """
        src, dst = split(source), split(destination)
        if src == dst:
            return True
        same_node = self.pods[src]["spec"].get("nodeName") == self.pods[dst]["spec"].get("nodeName")
        from_own_host = bool(self.pods[src]["spec"].get("hostNetwork")) and same_node
        return self._direction_allows("Egress", src, dst, protocol, port, family) and (
            from_own_host or self._direction_allows("Ingress", dst, src, protocol, port, family)
        )

    def _direction_allows(
        self, kind: str, subject: Key, other: Key, protocol: str, port: int, family: int | None
    ) -> bool:
        """Whether the subject's policies of one direction let it talk with the other pod.

        A policy isolates in a direction if its policyTypes list it or if it has rules for it.
        """
        destination = subject if kind == "Ingress" else other
        isolated = False
        for policy in self.network_policies.values():
            rules = policy["spec"].get(kind.lower()) or []
            if not rules and kind not in (policy["spec"].get("policyTypes") or []):
                continue
            if not self._applies_to(policy, subject):
                continue
            isolated = True
            for rule in rules:
                peers = rule.get("from" if kind == "Ingress" else "to") or []
                by_address = self._peer_by_address(peers, other, family)
                by_selector = self._peer_by_selector(policy, peers, other)
                ports = rule.get("ports") or []
                if (by_address or by_selector) and not ports:
                    return True
                for entry in ports:
                    # On egress a name can be resolved for pods that the rule selects, not for addresses.
                    named = isinstance(entry.get("port"), str)
                    if (
                        by_selector or (by_address and not (named and kind == "Egress"))
                    ) and self._port_matches(entry, destination, protocol, port):
                        return True
        return not isolated

    def _peer_by_selector(self, policy: Manifest, peers: list[Manifest], other: Key) -> bool:
        """No peers at all select every pod."""
        if not self._takes_part(other):
            return False
        home = policy["metadata"]["namespace"]
        return not peers or any(
            self._selects(other, home, peer.get("podSelector"), peer.get("namespaceSelector"))
            for peer in peers
            if peer.get("ipBlock") is None
        )

    def _peer_by_address(self, peers: list[Manifest], other: Key, family: int | None) -> bool:
        if not peers:
            return True
        address = self.address(other, family)
        for peer in peers:
            block = peer.get("ipBlock")
            if block is None or block_document(block) is None or not in_cidr(address, block["cidr"]):
                continue
            if not any(in_cidr(address, each) for each in block.get("except") or []):
                return True
        return False

    def _port_matches(self, entry: Manifest, destination: Key, protocol: str, port: int) -> bool:
        if (entry.get("protocol") or "TCP") != protocol:
            return False
        wanted = entry.get("port")
        if wanted is None:
            return True
        if isinstance(wanted, str):
            return (port, wanted, protocol) in named_ports(self.pods[destination])
        return wanted <= port <= (entry.get("endPort") or wanted)

    def address(self, key: Key, family: int | None = None) -> IPAddress:
        """A pod's first address, or the first of a family. KeyError where it has none."""
        for text in pod_ips(self.pods[key]):
            address = ipaddress.ip_address(text)
            if family in (None, address.version):
                return address
        raise KeyError(f"pod {'/'.join(key)} has no address of family {family}")

    # --- what the controller serves ---

    def address_groups(self) -> dict[str, AddressGroup]:
        spans: dict[str, set[str]] = {}
        members: dict[str, frozenset[Member]] = {}
        for policy in self.network_policies.values():
            home = policy["metadata"]["namespace"]
            for pods, namespaces in self._peer_selectors(policy):
                name = group_name(home, pods, namespaces)
                spans.setdefault(name, set()).update(self._span(policy))
                members[name] = frozenset(
                    Member(*key, ips=tuple(pod_ips(pod)), ports=named_ports(pod))
                    for key, pod in self.pods.items()
                    if self._takes_part(key) and pod_ips(pod) and self._selects(key, home, pods, namespaces)
                )
        return {name: AddressGroup(members[name], frozenset(span)) for name, span in spans.items()}

    def applied_to_groups(self) -> dict[str, AppliedToGroup]:
        groups = {}
        for policy in self.network_policies.values():
            home, selector = policy["metadata"]["namespace"], policy["spec"].get("podSelector") or {}
            nodes: dict[str, set[Member]] = {}
            for key, pod in self.pods.items():
                if pod["spec"].get("nodeName") and self._applies_to(policy, key):
                    nodes.setdefault(pod["spec"]["nodeName"], set()).add(Member(*key, ports=named_ports(pod)))
            groups[group_name(home, selector, None)] = AppliedToGroup(
                {node: frozenset(members) for node, members in nodes.items()}
            )
        return groups

    def policies(self) -> dict[str, Policy]:
        """By uid, which is their name on the wire."""
        return {
            policy["metadata"]["uid"]: Policy(self._document(policy), self._span(policy))
            for policy in self.network_policies.values()
        }

    def _span(self, policy: Manifest) -> frozenset[str]:
        return frozenset(
            pod["spec"]["nodeName"]
            for key, pod in self.pods.items()
            if pod["spec"].get("nodeName") and self._applies_to(policy, key)
        )

    @staticmethod
    def _peer_selectors(policy: Manifest) -> list[tuple[Manifest | None, Manifest | None]]:
        """The selectors that need an address group; a named port without peers needs that of all pods."""
        found: list[tuple[Manifest | None, Manifest | None]] = []
        for kind, name in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(kind) or []:
                for peer in rule.get(name) or []:
                    if peer.get("ipBlock") is None:
                        found.append((peer.get("podSelector"), peer.get("namespaceSelector")))
                if kind == "egress" and not rule.get("to") and has_named_port(rule):
                    found.append((None, {}))
        return found

    def _document(self, policy: Manifest) -> Manifest:
        meta, spec = policy["metadata"], policy["spec"]
        namespace = self.namespaces.get(meta["namespace"], {"metadata": {}})
        annotation = (namespace["metadata"].get("annotations") or {}).get(LOGGING)
        logging = annotation in ("1", "t", "T", "TRUE", "true", "True")
        rules: list[dict[str, Any]] = []
        for kind, name, direction in (("ingress", "from", "In"), ("egress", "to", "Out")):
            for rule in spec.get(kind) or []:
                peer = self._peer_document(meta["namespace"], direction, rule, rule.get(name) or [])
                document: dict[str, Any] = {"direction": direction, "from": {}, "to": {}}
                document[name] = peer
                services = [service_document(entry) for entry in rule.get("ports") or []]
                if services:
                    document["services"] = services
                document.update(priority=-1, action="Allow", enableLogging=logging)
                rules.append(document)
        for kind, direction in (("Ingress", "In"), ("Egress", "Out")):
            if kind in (spec.get("policyTypes") or []) and not spec.get(kind.lower()):
                rules.append({"direction": direction, "from": {}, "to": {}, "enableLogging": logging})
        metadata = {"name": meta["uid"], "uid": meta["uid"]}
        if meta.get("generation"):
            metadata["generation"] = meta["generation"]
        source = {
            "type": "K8sNetworkPolicy",
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
        }
        applied_to = [group_name(meta["namespace"], spec.get("podSelector") or {}, None)]
        document = {"metadata": metadata, "appliedToGroups": applied_to, "sourceRef": source}
        if rules:
            document["rules"] = rules
        return document

    @staticmethod
    def _peer_document(home: str, direction: str, rule: Manifest, peers: list[Manifest]) -> dict[str, Any]:
        groups, blocks = [], []
        for peer in peers:
            if peer.get("ipBlock") is not None:
                block = block_document(peer["ipBlock"])
                if block is not None:
                    blocks.append(block)
            else:
                groups.append(group_name(home, peer.get("podSelector"), peer.get("namespaceSelector")))
        if not peers:
            blocks = ANY_ADDRESS
            if direction == "Out" and has_named_port(rule):
                groups = [group_name(home, None, {})]
        document: dict[str, Any] = {}
        if groups:
            document["addressGroups"] = groups
        if blocks:
            document["ipBlocks"] = blocks
        return document


# --- the rules of the game, one function each -----------------------------------------------------------


def matches(selector: Manifest, labels: Mapping[str, str]) -> bool:
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions") or []:
        key, values = expression["key"], expression.get("values") or []
        match expression["operator"]:
            case "In":
                fits = key in labels and labels[key] in values
            case "NotIn":
                fits = key not in labels or labels[key] not in values
            case "Exists":
                fits = key in labels
            case "DoesNotExist":
                fits = key not in labels
            case operator:
                raise ValueError(f"no label selector operator is called {operator!r}")
        if not fits:
            return False
    return True


def selector_text(selector: Manifest) -> str:
    """The canonical text: requirements sorted by key, values sorted."""
    parts = [(key, f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or []:
        key, values = expression["key"], ",".join(sorted(expression.get("values") or []))
        texts = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }
        parts.append((key, texts[expression["operator"]]))
    return ",".join(text for _, text in sorted(parts, key=lambda part: part[0]))


def group_name(home: str, pods: Manifest | None, namespaces: Manifest | None) -> str:
    parts = [f"namespace={home}" if namespaces is None else f"namespaceSelector={selector_text(namespaces)}"]
    if pods is not None:
        parts.append(f"podSelector={selector_text(pods)}")
    return str(uuid.uuid5(GROUP_NAMESPACE, " And ".join(sorted(parts))))


def pod_ips(pod: Manifest) -> list[str]:
    return [entry["ip"] for entry in (pod.get("status") or {}).get("podIPs") or []]


def named_ports(pod: Manifest) -> tuple[tuple[int, str, str], ...]:
    """(number, name, protocol) of the named ports of the regular containers."""
    return tuple(
        (port["containerPort"], port["name"], port.get("protocol") or "TCP")
        for container in pod["spec"].get("containers") or []
        for port in container.get("ports") or []
        if port.get("name")
    )


def has_named_port(rule: Manifest) -> bool:
    return any(isinstance(entry.get("port"), str) for entry in rule.get("ports") or [])


def in_cidr(address: IPAddress, cidr: str) -> bool:
    """A CIDR that cannot be read contains nothing."""
    try:
        network = ipaddress.ip_network(cidr if "/" in cidr else "", strict=False)
    except ValueError:
        return False
    return address.version == network.version and address in network


def address_text(address: IPAddress) -> str:
    raw = address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed
    return base64.b64encode(raw).decode()


def net_document(cidr: str) -> dict[str, Any]:
    text, slash, length = cidr.partition("/")
    address = ipaddress.ip_address(text)
    if not slash or not 0 <= int(length) <= address.max_prefixlen:
        raise ValueError(cidr)
    document: dict[str, Any] = {"ip": address_text(address)}
    if int(length):
        document["prefixLength"] = int(length)
    return document


def block_document(block: Manifest) -> dict[str, Any] | None:
    """None for a block that cannot be read: it is skipped."""
    try:
        document: dict[str, Any] = {"cidr": net_document(block["cidr"])}
        excepted = [net_document(each) for each in block.get("except") or []]
    except ValueError:
        return None
    if excepted:
        document["except"] = excepted
    return document


def service_document(entry: Manifest) -> dict[str, Any]:
    document: dict[str, Any] = {"protocol": entry.get("protocol") or "TCP"}
    for name in ("port", "endPort"):
        if entry.get(name) is not None:
            document[name] = entry[name]
    return document
