"""What the agent reads of Kubernetes Node objects."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from agent.model import IPAddress, IPNetwork, RemoteNode
from client.errors import ApiError, ConnectionFailed
from client.rest import RestClient
from runtime import log
from runtime.errors import ConfigurationError

logger = log.get(__name__)

T = TypeVar("T", IPAddress, IPNetwork)

TRANSPORT_ANNOTATION = "node.antrea.io/transport-addresses"

# How long a starting agent waits for its Node and the Node's podCIDR, as upstream v2.7 does.
NODE_PATIENCE = 60.0
_POLL = 1.0


class _Address(msgspec.Struct):
    type: str = ""
    address: str = ""


class _Status(msgspec.Struct):
    addresses: list[_Address] | None = None


class _Spec(msgspec.Struct, rename="camel"):
    pod_cidr: str | None = msgspec.field(name="podCIDR", default=None)
    pod_cidrs: list[str] | None = msgspec.field(name="podCIDRs", default=None)


class _Meta(msgspec.Struct):
    name: str = ""
    uid: str = ""
    annotations: dict[str, str] | None = None


class _Node(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


_decode = msgspec.json.Decoder(_Node).decode


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """Node addresses and pod CIDRs, at most one of each family, IPv4 first."""

    name: str
    node_ips: tuple[IPAddress, ...]
    transport_ips: tuple[IPAddress, ...]
    pod_cidrs: tuple[IPNetwork, ...]

    def remote(self) -> RemoteNode | None:
        """The node as a peer; None while it has no pod CIDR or no address to reach it."""
        cidrs = tuple(cidr for cidr in self.pod_cidrs if self.transport_ips)
        return RemoteNode(self.name, self.transport_ips, cidrs) if cidrs else None


def decode_node(raw: bytes | msgspec.Raw) -> NodeFacts:
    """Raises ValueError with a sentence that names the node, where one can be made out, and the field."""
    try:
        node = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"A Node object cannot be read: {error}") from error
    name = node.metadata.name
    if not name:
        raise ValueError("A Node object has no metadata.name.")
    texts = node.spec.pod_cidrs or ([node.spec.pod_cidr] if node.spec.pod_cidr else [])
    cidrs: list[IPNetwork] = []
    for text in texts:
        try:
            cidrs.append(ipaddress.ip_network(text, strict=False))
        except ValueError as error:
            raise ValueError(f"Node {name}: spec.podCIDRs holds {text!r}, which is no CIDR.") from error
    addresses = node.status.addresses or []
    # An ExternalIP counts only where there is no InternalIP at all (Antrea v2.7).
    for kind in ("InternalIP", "ExternalIP"):
        node_ips = [ip for entry in addresses if entry.type == kind and (ip := _address(entry.address))]
        if node_ips:
            break
    annotation = (node.metadata.annotations or {}).get(TRANSPORT_ANNOTATION, "")
    transport = [ip for text in annotation.split(",") if (ip := _address(text.strip()))]
    return NodeFacts(
        name,
        _one_per_family(node_ips),
        _one_per_family(transport or node_ips),
        _one_per_family(cidrs),
    )


async def wait_for_node(client: RestClient, name: str, patience: float = NODE_PATIENCE) -> NodeFacts:
    """The agent's own Node, once it exists and has a podCIDR; ConfigurationError after ``patience`` s."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    problem = ""
    while True:
        try:
            facts = decode_node(await client.get(f"/api/v1/nodes/{name}"))
            if facts.pod_cidrs and facts.node_ips:
                return facts
            missing = "spec.podCIDRs" if not facts.pod_cidrs else "an address in status.addresses"
            complaint = f"Node {name} has no {missing} yet"
        except (ApiError, ConnectionFailed, ValueError) as error:
            complaint = f"Node {name} cannot be read: {error}"
        if complaint != problem:
            problem = complaint
            logger.warning("%s; waiting for it", complaint)
        if loop.time() + _POLL > deadline:
            raise ConfigurationError(
                f"{complaint}, and did not get better within {patience:g} s: check that the Node exists "
                "under the agent's node name and that the cluster gives nodes a podCIDR."
            )
        await asyncio.sleep(_POLL)


def _address(text: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _one_per_family(values: Sequence[T]) -> tuple[T, ...]:
    """The first of each family, IPv4 first."""
    return tuple(
        first
        for version in (4, 6)
        if (first := next((value for value in values if value.version == version), None)) is not None
    )
