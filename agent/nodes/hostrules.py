"""The node's packet filter: what leaves the pod network, and what the node itself sends into it.

One nftables table of our own (inet antrea), replaced as a whole in one transaction whenever its text changes:

- A packet of a pod to an address outside all pod CIDRs leaves with the node's address: nobody out there has a
  route to the pod's (Antrea v2.7, encap mode).
- On the kernel datapath, packets that the node itself sends to its pods carry mark bit 31, by which the
  pipeline lets kubelet's probes pass whatever policies say. The userspace datapath does not see marks, and
  goes by the gateway's address.
- The userspace datapath only taps the host ends of the pods' veth pairs: what arrives there is dropped before
  the node's own stack looks at it (agent.cni.veth keeps it out by other means as well).
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable

from agent.model import IPNetwork, NodeConfig, RemoteNode
from runtime import log

logger = log.get(__name__)

TABLE = "inet antrea"
HOST_LOCAL_MARK = 0x80000000
HOST_ENDS = 0x616E  # the link group of the pods' host ends
TIMEOUT = 10.0


class HostRulesError(Exception):
    """nft is missing or refused the rules."""


class HostRules:
    """Keeps the table; every call of ``reconcile`` that finds it as wanted costs one look at the kernel."""

    def __init__(self, config: NodeConfig) -> None:
        self._config = config
        self._applied = ""
        self._complaint = ""

    async def reconcile(self, peers: Iterable[RemoteNode]) -> None:
        """Never raises: without these rules pods still reach one another. A failure is logged once."""
        text = ruleset(self._config, [cidr for peer in peers for cidr in peer.pod_cidrs])
        try:
            if text == self._applied and await _nft("", "list", "table", *TABLE.split()):
                return
            if not await _nft(text, "-f", "-"):
                raise HostRulesError("nft refused them")
        except (HostRulesError, OSError, RuntimeError, TimeoutError) as error:
            self._applied = ""
            if str(error) != self._complaint:
                self._complaint = str(error)
                logger.error(
                    "The rules of nftables table %s cannot be set: %s; %s", TABLE, error, self._lost()
                )
            return
        self._applied, self._complaint = text, ""

    def _lost(self) -> str:
        lost = "pods do not reach addresses outside the cluster"
        if self._config.userspace_datapath:
            return lost
        return f"{lost}, and policies apply to kubelet's probes as well"


def ruleset(config: NodeConfig, peer_cidrs: Iterable[IPNetwork]) -> str:
    """The whole table as nft reads it; the same input gives the same text."""
    everything = sorted({*config.pod_cidrs, *peer_cidrs}, key=lambda cidr: (cidr.version, cidr))
    lines = [f"table {TABLE}", f"delete table {TABLE}", f"table {TABLE} {{"]
    if not config.userspace_datapath:
        lines += [
            "  chain output {",
            "    type filter hook output priority mangle; policy accept;",
            f'    oifname "{config.gateway_name}" fib saddr type local '
            f"meta mark set meta mark or {HOST_LOCAL_MARK:#x}",
            "  }",
        ]
    else:
        lines += [
            "  chain pods {",
            "    type filter hook prerouting priority -450; policy accept;",
            f"    iifgroup {HOST_ENDS} drop",
            "  }",
        ]
    lines += ["  chain postrouting {", "    type nat hook postrouting priority srcnat; policy accept;"]
    for own in config.pod_cidrs:
        family = "ip" if own.version == 4 else "ip6"
        inside = ", ".join(str(cidr) for cidr in everything if cidr.version == own.version)
        lines.append(
            f'    {family} saddr {own} oifname != "{config.gateway_name}" '
            f"{family} daddr != {{ {inside} }} masquerade"
        )
    lines += ["  }", "}", ""]
    return "\n".join(lines)


async def _nft(text: str, *arguments: str) -> bool:
    """Run nft; whether it succeeded. Raises HostRulesError with what it said of rules that it refused."""
    program = shutil.which("nft") or shutil.which("nft", path="/usr/sbin:/sbin")
    if program is None:
        raise HostRulesError("the command nft is missing (Debian's package nftables)")
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        # Without rules nft may end before anything is written to it, and uvloop raises RuntimeError then.
        stdin=asyncio.subprocess.PIPE if text else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TIMEOUT):
            _, complaint = await process.communicate(text.encode() or None)
    except BaseException:
        if process.returncode is None:
            process.kill()
        raise
    if process.returncode != 0 and text:
        raise HostRulesError(complaint.decode(errors="replace").strip().replace("\n", " ")[:500])
    return process.returncode == 0
