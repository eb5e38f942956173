"""A new pod announces its addresses, so that nobody goes on using an earlier owner's MAC.

Gratuitous ARP and unsolicited neighbour advertisements (RFC 5227, RFC 4861), three times, 50 ms apart, sent
from the pod's own interface; they pass the spoof guard because they carry the pod's own addresses.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress

from pyroute2 import IPRoute

from agent.cni.results import Address
from agent.nodes.netlink import Netlink

_TIMES = 3
_PAUSE = 0.05
_ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")


async def announce(netlink: Netlink, netns: str, ifname: str, mac: str, addresses: Sequence[Address]) -> None:
    """Takes 100 ms. Raises what entering the namespace raises; a pod that goes later ends it quietly."""
    frames = [
        gratuitous_arp(mac, address.ip.packed)
        if address.version == 4
        else advertisement(mac, address.ip.packed)
        for address in addresses
    ]
    sock = await netlink.run(lambda ipr: _open(ipr, ifname), netns)
    with sock:
        for turn in range(_TIMES):
            if turn:
                await asyncio.sleep(_PAUSE)
            for frame in frames:
                with suppress(OSError):
                    sock.send(frame)


def _open(_: IPRoute, ifname: str) -> socket.socket:
    """A socket stays in the namespace in which it was made."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        sock.setblocking(False)
        sock.bind((ifname, 0))
    except OSError:
        sock.close()
        raise
    return sock


def gratuitous_arp(mac: str, ip: bytes) -> bytes:
    """An ARP request for one's own address, to everybody."""
    source = _mac(mac)
    ethernet = b"\xff" * 6 + source + b"\x08\x06"
    return ethernet + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + source + ip + b"\0" * 6 + ip


def advertisement(mac: str, ip: bytes) -> bytes:
    """An unsolicited neighbour advertisement with the override flag and the target's link-layer address."""
    source = _mac(mac)
    body = struct.pack("!BBHI", 136, 0, 0, 0x20000000) + ip + struct.pack("!BB", 2, 1) + source
    body = body[:2] + struct.pack("!H", _checksum(ip, _ALL_NODES, body)) + body[4:]
    header = struct.pack("!IHBB", 0x60000000, len(body), 58, 255) + ip + _ALL_NODES
    return bytes.fromhex("333300000001") + source + b"\x86\xdd" + header + body


def _checksum(source: bytes, destination: bytes, body: bytes) -> int:
    """ICMPv6, over the pseudo header (RFC 4443)."""
    data = source + destination + struct.pack("!II", len(body), 58) + body
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
