"""The ``prevResult`` of CNI CHECK: what ADD answered, as the runtime remembers it."""

from __future__ import annotations

import ipaddress

import msgspec

from agent.cni.errors import DECODING_FAILURE, INVALID_NETWORK_CONFIG, UNSUPPORTED_FIELD, CNIError
from agent.cni.requests import Request
from agent.cni.results import Address


class _Interface(msgspec.Struct):
    name: str = ""
    mac: str = ""
    sandbox: str = ""


class _IP(msgspec.Struct):
    address: str = ""
    interface: int | None = None


class _Result(msgspec.Struct):
    interfaces: list[_Interface] | None = None
    ips: list[_IP] | None = None


def previous_result(request: Request) -> tuple[set[Address], str]:
    """What ``prevResult`` says of the pod's interface: its addresses and its MAC. Raises CNIError."""
    if bytes(request.config.prev_result) in (b"", b"null"):
        raise CNIError(UNSUPPORTED_FIELD, "Network configuration does not support prevResult=null")
    try:
        previous = msgspec.json.decode(request.config.prev_result, type=_Result)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CNIError(DECODING_FAILURE, f"Failed to decode prevResult: {error}") from error
    interfaces = previous.interfaces or []
    # The host's end of the cable has no sandbox, and may have the same name.
    index = next(
        (i for i, entry in enumerate(interfaces) if entry.name == request.ifname and entry.sandbox), None
    )
    if index is None:
        raise CNIError(
            INVALID_NETWORK_CONFIG,
            f"prevResult does not match network configuration: it has no interface {request.ifname}",
        )
    try:
        addresses = {
            ipaddress.ip_interface(entry.address)
            for entry in previous.ips or ()
            if entry.interface is None or entry.interface == index
        }
    except ValueError as error:
        raise CNIError(DECODING_FAILURE, f"Failed to decode prevResult: {error}") from error
    return addresses, interfaces[index].mac
