"""How large a packet of a pod may be: what is left of the transport device's MTU (Antrea v2.7)."""

from __future__ import annotations

# Bytes that an encapsulation adds, on a node with IPv4 only and on one with any IPv6 address.
TUNNEL_OVERHEAD = {"geneve": (50, 70), "vxlan": (50, 70), "gre": (42, 42), "stt": (0, 0)}
WIREGUARD_OVERHEAD = (60, 80)
IPSEC_OVERHEAD = 38
ENCAP_LIMIT = 65000  # a tunnel over loopback-like devices must not produce larger packets than IP can carry


def pod_mtu(
    transport_mtu: int,
    *,
    default_mtu: int = 0,
    encap_mode: str = "encap",
    tunnel_type: str = "geneve",
    encryption: str = "none",
    ipv6: bool = False,
) -> int:
    """The MTU of pod interfaces and the gateway; a configured ``default_mtu`` is taken as it is."""
    if default_mtu:
        return default_mtu
    mode = encap_mode.lower()
    if encryption.lower() == "wireguard":
        overhead = WIREGUARD_OVERHEAD[ipv6]
    elif mode in ("encap", "hybrid"):
        overhead = TUNNEL_OVERHEAD[tunnel_type][ipv6]
    else:
        overhead = 0
    if encryption.lower() == "ipsec":
        overhead += IPSEC_OVERHEAD
    mtu = transport_mtu - overhead
    return min(mtu, ENCAP_LIMIT) if mode in ("encap", "hybrid") else mtu
