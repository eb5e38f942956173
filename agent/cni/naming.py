"""The name of a pod's host veth, which is also its OVS port's (Antrea v2.7; at most 15 characters)."""

from __future__ import annotations

import hashlib

_POD_PART = 8
_HASH_PART = 6


def suffix(container_id: str, ifname: str = "eth0") -> str:
    """What tells interfaces apart: six hex digits of a hash over the container and, unless eth0, the name."""
    key = container_id if ifname == "eth0" else container_id + ifname
    return hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()[:_HASH_PART]


def host_interface_name(pod: str, container_id: str, ifname: str = "eth0") -> str:
    """Up to eight characters of the pod's name, for the reader, and the suffix."""
    return f"{pod[:_POD_PART].lstrip('-')}-{suffix(container_id, ifname)}"
