"""Small facts on the node and its Open vSwitch that the agent reports but does not work with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from agent.model import IPAddress
from agent.ovs.database import Database
from agent.pipeline import unixctl
from runtime import log

if TYPE_CHECKING:
    from pyroute2 import IPRoute

logger = log.get(__name__)


class OVSVersion:
    """The version of vswitchd: what ovs-ctl has written into OVSDB, else what vswitchd itself says."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._answered = ""

    async def ask(self) -> None:
        """Ask vswitchd; for a start, and for after each of its restarts."""
        control = unixctl.socket_of_vswitchd(self._database.run_dir)
        if control is None:
            return
        try:
            answer = await unixctl.call(control, "version")
        except unixctl.UnixctlError as error:
            logger.warning("The version of Open vSwitch is not known: %s", error)
            return
        found = re.search(r"\d+\.\d+\.\d+", answer)
        self._answered = found[0] if found else ""

    def __call__(self) -> str:
        """Empty if it is not known."""
        for row in self._database.rows("Open_vSwitch"):
            value = row["ovs_version"]
            if isinstance(value, list):
                value = value[0] if value else ""
            if value:
                return str(value)
        return self._answered


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
