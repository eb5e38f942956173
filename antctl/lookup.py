"""Finding out through the Kubernetes API where Antrea's processes are."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from antctl.errors import CommandError
from antctl.output import decode
from antctl.session import Session, status_message


def fetch(
    session: Session, path: str, problem: str, query: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """An object of the Kubernetes API. Raises CommandError, which begins with ``problem``."""
    from antctl.transport import TransportError

    try:
        answer = session.request(path, query)
    except TransportError as error:
        raise CommandError(f"{problem}: {error}") from error
    if answer.status >= 400:
        raise CommandError(f"{problem}: {status_message(answer)}")
    value = decode(answer.body)
    return value if isinstance(value, dict) else {}


def node_url(session: Session, node: str, port: int, problem: str) -> str:
    """The URL of a process at a port of a Node. Raises CommandError."""
    address = node_address(fetch(session, f"/api/v1/nodes/{node}", problem))
    return f"https://[{address}]:{port}" if ":" in address else f"https://{address}:{port}"


def node_address(node: dict[str, Any]) -> str:
    """ExternalIP before InternalIP, IPv4 before IPv6. Raises CommandError."""
    found: list[tuple[bool, bool, str]] = []
    for entry in node.get("status", {}).get("addresses") or ():
        if entry.get("type") in ("ExternalIP", "InternalIP"):
            try:
                version = ipaddress.ip_address(entry.get("address", "")).version
            except ValueError:
                continue
            found.append((entry["type"] == "InternalIP", version == 6, entry["address"]))
    if not found:
        raise CommandError(f"Node {node.get('metadata', {}).get('name', '')} has no address")
    return min(found)[2]
