"""Small facts on the node and its Open vSwitch that the agent reports but does not work with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.model import IPAddress
from agent.ovs.database import Database

if TYPE_CHECKING:
    from pyroute2 import IPRoute


def ovs_version(database: Database) -> str:
    """The version that vswitchd has written into OVSDB; empty if it is not known."""
    for row in database.rows("Open_vSwitch"):
        value = row["ovs_version"]
        if isinstance(value, list):
            value = value[0] if value else ""
        if value:
            return str(value)
    return ""


def port_uuid(database: Database, name: str) -> str:
    """The uuid of a port's row; empty if there is none."""
    row = database.find("Port", name)
    return str(row["_uuid"]) if row is not None else ""


def transport_info(ipr: IPRoute, addresses: tuple[IPAddress, ...]) -> dict[str, Any]:
    """Name, MTU and addresses of the device that carries the tunnel, as in AntreaAgentInfo's networkInfo."""
    wanted = {str(address) for address in addresses}
    found: dict[str, Any] = {}
    for entry in ipr.get_addr():
        if entry.get("address") in wanted:
            if "transportInterface" not in found:
                (link,) = ipr.get_links(entry["index"])
                found["transportInterface"] = link.get("ifname")
                found["transportInterfaceMTU"] = link.get("mtu")
            found.setdefault("transportInterfaceIPs", []).append(
                f"{entry.get('address')}/{entry['prefixlen']}"
            )
    return found
