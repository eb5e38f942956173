"""br-int in OVSDB: the bridge itself, its gateway and tunnel ports, and one port for each pod.

Rows are as Antrea v2.7 writes them, but for ``fail_mode=secure``: with the default, a vswitchd that
comes back after a crash forwards everything until its flows are back.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.model import PodInterface
from agent.ovs import commands
from agent.ovs.database import Database, DatabaseError, Row
from agent.ovs.ports import (
    GATEWAY,
    GATEWAY_OFPORT,
    TUNNEL,
    TUNNEL_OFPORT,
    TYPE,
    Port,
    container_external_ids,
    pod_interface,
)
from runtime import log

logger = log.get(__name__)

PROTOCOLS = ["OpenFlow10", "OpenFlow15"]


class OVSBridge:
    """The agent's bridge. Reads come from the database's local copy; writes are transactions."""

    def __init__(self, database: Database, name: str = "br-int", *, datapath_type: str = "system") -> None:
        self.database = database
        self.name = name
        self.datapath_type = datapath_type

    @property
    def management_socket(self) -> Path:
        """Where vswitchd accepts OpenFlow for this bridge."""
        return self.database.run_dir / f"{self.name}.mgmt"

    @property
    def userspace(self) -> bool:
        return self.datapath_type == "netdev"

    async def ensure(self, timeout: float = 5.0) -> str:
        """Create or adjust the bridge; its datapath id (16 hex digits) once vswitchd has made it.

        external_ids of an existing bridge are not touched: the round number lives there.
        """
        columns = {"datapath_type": self.datapath_type, "protocols": PROTOCOLS, "fail_mode": "secure"}
        await self.database.transact(commands.ensure_bridge(self.name, columns))
        return str(
            await self.database.wait_for(
                f"a datapath id for the bridge {self.name}", lambda: self.datapath_id, timeout
            )
        )

    @property
    def datapath_id(self) -> str | None:
        row = self.database.find("Bridge", self.name)
        return _scalar(row["datapath_id"]) if row else None

    # The round number of the flows' cookies (Antrea v2.7: external_ids:roundNum, decimal).

    @property
    def round_number(self) -> int | None:
        row = self.database.find("Bridge", self.name)
        text = row["external_ids"].get("roundNum", "") if row else ""
        return int(text) if text.isascii() and text.isdigit() else None

    async def set_round_number(self, value: int) -> None:
        ids = {"roundNum": str(value)}
        await self.database.transact(commands.set_bridge_external_ids(self.name, ids))

    async def remember_round(self, value: int) -> None:
        """For a start that finds no other record of it. A failure is logged."""
        try:
            if value != self.round_number:
                await self.set_round_number(value)
        except DatabaseError as error:
            logger.error("The round number %d cannot be kept in OVSDB: %s", value, error)

    # flow-restore-wait: while set, a starting vswitchd forwards nothing on any of its bridges.

    @property
    def flow_restore_wait(self) -> bool:
        roots = self.database.rows("Open_vSwitch")
        return any(row["other_config"].get("flow-restore-wait") == "true" for row in roots)

    async def clear_flow_restore_wait(self) -> None:
        """A supervisor that died after setting it has left a node that drops everything: undo that."""
        if self.flow_restore_wait:
            await self.database.transact(commands.set_other_config({"flow-restore-wait": None}))

    # Ports.

    def ports(self) -> Iterator[Port]:
        bridge = self.database.find("Bridge", self.name)
        for key in bridge["ports"] if bridge else ():
            row = self.database.row("Port", key)
            interface = (
                self.database.row("Interface", row["interfaces"][0]) if row and row["interfaces"] else None
            )
            if row and interface:
                yield _port(row, interface)

    def port(self, name: str) -> Port | None:
        return next((port for port in self.ports() if port.name == name), None)

    def pod_interfaces(self) -> Iterator[PodInterface]:
        """What the external_ids say of the pods attached; ports that cannot be read are named and skipped."""
        for port in self.ports():
            if interface := pod_interface(port):
                yield interface
            elif port.antrea_type == "container":
                logger.warning(
                    "The port %s of %s has unreadable external_ids and is skipped", port.name, self.name
                )

    async def ensure_gateway(self, name: str = "antrea-gw0", *, mtu: int, timeout: float = 5.0) -> Port:
        """The internal port through which the node itself joins the pod network.

        Its MAC is chosen once and kept in OVSDB, so that it survives everything. A gateway that exists under
        another name keeps it.
        """
        existing = self._of_type(GATEWAY)
        name = existing.name if existing else name
        row = self.database.find("Interface", name)
        mac = (_scalar(row["mac"]) if row else None) or random_mac()
        columns = {
            "type": "internal",
            "ofport_request": [GATEWAY_OFPORT],
            "mac": [mac],
            "mtu_request": [mtu],
        }
        await self.database.transact(commands.ensure_port(self.name, name, columns, {TYPE: GATEWAY}))
        return await self.wait_ofport(name, timeout)

    async def ensure_tunnel(
        self,
        name: str = "antrea-tun0",
        *,
        tunnel_type: str = "geneve",
        port: int = 0,
        csum: bool = False,
        timeout: float = 5.0,
    ) -> Port:
        """The flow-based tunnel port: the far end and the key come from flows.

        A port of another type or UDP port is made anew, because OVS does not change these in place.
        """
        options = {"key": "flow", "remote_ip": "flow"}
        if csum and tunnel_type in ("geneve", "vxlan"):
            options["csum"] = "true"
        if port:
            options["dst_port"] = str(port)
        existing = self._of_type(TUNNEL)
        if existing is not None:
            name = existing.name
            if existing.type != tunnel_type or existing.options.get("dst_port") != options.get("dst_port"):
                await self.delete_port(name)
        columns = {"type": tunnel_type, "options": options, "ofport_request": [TUNNEL_OFPORT]}
        await self.database.transact(commands.ensure_port(self.name, name, columns, {TYPE: TUNNEL}))
        return await self.wait_ofport(name, timeout)

    async def add_pod_port(
        self, interface: PodInterface, netns: str, ifname: str = "eth0", timeout: float = 5.0
    ) -> int:
        """Attach a host veth as a pod's port; the ofport that OVS gave it."""
        ids = container_external_ids(interface, netns, ifname)
        await self.database.transact(commands.ensure_port(self.name, interface.name, {"type": ""}, ids))
        return (await self.wait_ofport(interface.name, timeout)).ofport

    async def delete_port(self, name: str) -> None:
        """Detach a port; none of that name is fine."""
        await self.database.transact(commands.delete_port(self.name, name))

    async def wait_ofport(self, name: str, timeout: float = 5.0) -> Port:
        """The port once vswitchd has numbered it. Raises DatabaseError when it cannot or takes too long."""

        def numbered() -> Port | None:
            port = self.port(name)
            if port is None or not (port.ofport or port.error):
                return None
            # vswitchd makes the device first and gives it the wanted MAC a moment later.
            row = self.database.find("Interface", name)
            settled = row is None or not row["mac"] or row["mac"] == row["mac_in_use"] or port.ofport < 0
            return port if settled else None

        port = await self.database.wait_for(f"an OpenFlow port number for {name}", numbered, timeout)
        assert isinstance(port, Port)
        if port.ofport <= 0:
            raise DatabaseError(
                f"Open vSwitch cannot open the port {name}: {port.error or 'no reason given'}."
            )
        return port

    def _of_type(self, antrea_type: str) -> Port | None:
        return next((port for port in self.ports() if port.antrea_type == antrea_type), None)


def _port(row: Row, interface: Row) -> Port:
    return Port(
        name=row["name"],
        type=interface["type"],
        ofport=_scalar(interface["ofport"]) or 0,
        mac=(_scalar(interface["mac"]) or _scalar(interface["mac_in_use"]) or "").lower(),
        external_ids=row["external_ids"],
        options=interface["options"],
        ofport_request=_scalar(interface["ofport_request"]),
        error=_scalar(interface["error"]) or "",
    )


def _scalar(value: Any) -> Any:
    """An optional column: a list with at most one element."""
    if isinstance(value, list):
        return value[0] if value else None
    return value or None


def random_mac() -> str:
    """A unicast, locally administered MAC address."""
    octets = [(random.randrange(256) & 0xFC) | 0x02, *(random.randrange(256) for _ in range(5))]
    return ":".join(f"{octet:02x}" for octet in octets)
