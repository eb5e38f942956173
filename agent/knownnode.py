"""This node's own Node object, also while the Kubernetes API is away.

An agent that is restarted must not depend on the API to go on: the part of its Node that it needs (addresses,
podCIDRs) is kept in its run directory. An agent that has never seen its Node waits for it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from agent.nodes.objects import NodeFacts, decode_node, wait_for_node
from apiserver.certificates import write_private
from client.errors import ApiError, ConnectionFailed
from client.rest import RestClient
from runtime import log

logger = log.get(__name__)

QUICK = 2.0  # seconds for the API to answer when the Node is known from before


async def own_node(client: RestClient, name: str, directory: Path) -> NodeFacts:
    """The Node as the API has it, else as it was. Raises ConfigurationError if neither says enough."""
    path = directory / "node.json"
    known = await asyncio.to_thread(_read, path, name)
    if known is None:
        facts = await wait_for_node(client, name)
    else:
        facts = await _quickly(client, name) or known
    if facts != known:
        try:
            await asyncio.to_thread(write_private, path, _document(facts))
        except OSError as error:
            logger.error("%s cannot be written: %s. A restart will need the Kubernetes API", path, error)
    return facts


async def _quickly(client: RestClient, name: str) -> NodeFacts | None:
    try:
        response = await client.request("GET", f"/api/v1/nodes/{name}", timeout=QUICK)
        facts = decode_node(response.body)
    except (ApiError, ConnectionFailed, ValueError) as error:
        logger.warning("The Node %s cannot be read, going on with what it was: %s", name, error)
        return None
    if facts.pod_cidrs and facts.node_ips:
        return facts
    logger.warning("The Node %s has no podCIDR or no address any more, going on with what it was", name)
    return None


def _read(path: Path, name: str) -> NodeFacts | None:
    try:
        facts = decode_node(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning("What %s says of this node cannot be read: %s", path, error)
        return None
    return facts if facts.name == name and facts.pod_cidrs and facts.node_ips else None


def _document(facts: NodeFacts) -> bytes:
    """A Node object with just these facts."""
    return msgspec.json.encode(
        {
            "metadata": {
                "name": facts.name,
                "annotations": {
                    "node.antrea.io/transport-addresses": ",".join(map(str, facts.transport_ips))
                },
            },
            "spec": {"podCIDRs": [str(cidr) for cidr in facts.pod_cidrs]},
            "status": {"addresses": [{"type": "InternalIP", "address": str(ip)} for ip in facts.node_ips]},
        }
    )
