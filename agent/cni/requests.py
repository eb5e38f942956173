"""A CNI request, decoded and checked: environment, CNI_ARGS and network configuration.

Messages of the errors that upstream's tools may look for have upstream's wording (Antrea v2.7).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from agent.cni import v1beta1_pb2 as pb
from agent.cni.errors import (
    DECODING_FAILURE,
    INCOMPATIBLE_CNI_VERSION,
    INVALID_ENVIRONMENT_VARIABLES,
    UNSUPPORTED_FIELD,
    CNIError,
)

SUPPORTED_VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
_DEFAULT_VERSION = "0.1.0"  # CNI specification: a configuration without cniVersion
_SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}

_CONTAINER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_MAX_CONTAINER_ID = 255  # libcni sets no limit; a file name does
_MAX_IFNAME = 15


class _DNS(msgspec.Struct, omit_defaults=True):
    nameservers: list[str] = []
    domain: str = ""
    search: list[str] = []
    options: list[str] = []


class _IPAM(msgspec.Struct):
    type: str = ""


class _RuntimeDNS(msgspec.Struct):
    servers: list[str] = []
    searches: list[str] = []


class _RuntimeConfig(msgspec.Struct):
    dns: _RuntimeDNS | None = None


class NetworkConfig(msgspec.Struct, rename="camel"):
    """The keys of the plugin's network configuration that have an effect."""

    cni_version: str = ""
    name: str = ""
    type: str = ""
    mtu: int = 0
    dns: _DNS | None = None
    ipam: _IPAM = msgspec.field(default_factory=_IPAM)
    runtime_config: _RuntimeConfig | None = None
    prev_result: msgspec.Raw = msgspec.Raw()
    valid_attachments: list[dict[str, Any]] | None = msgspec.field(
        name="cni.dev/valid-attachments", default=None
    )

    def dns_result(self) -> dict[str, Any]:
        """The ``dns`` of the result: the configuration's, or what the runtime asks for."""
        runtime = self.runtime_config.dns if self.runtime_config else None
        if runtime and (runtime.servers or runtime.searches):
            dns = _DNS(nameservers=runtime.servers, search=runtime.searches)
        else:
            dns = self.dns or _DNS()
        result: dict[str, Any] = msgspec.to_builtins(dns)
        return result


_decode = msgspec.json.Decoder(NetworkConfig).decode


@dataclass(frozen=True, slots=True)
class Request:
    """One CNI command. Pod fields are empty where the command has no pod (GC, STATUS)."""

    command: str
    container_id: str
    netns: str
    ifname: str
    config: NetworkConfig
    raw_config: bytes
    version: str
    pod: str = ""
    namespace: str = ""
    pod_uid: str = ""


def decode_request(command: str, message: pb.CniCmdRequest, netns_prefix: str = "") -> Request:
    """Raises CNIError."""
    args = message.cni_args
    try:
        config = _decode(args.network_configuration)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CNIError(DECODING_FAILURE, f"Failed to decode network config: {error}") from error
    version = config.cni_version or _DEFAULT_VERSION
    if version not in SUPPORTED_VERSIONS:
        raise CNIError(
            INCOMPATIBLE_CNI_VERSION,
            f"Unsupported CNI version [{version}], supported versions {' '.join(SUPPORTED_VERSIONS)}",
        )
    since = _SINCE.get(command, "")
    if since and _version_key(version) < _version_key(since):
        raise CNIError(
            INCOMPATIBLE_CNI_VERSION,
            f"Config version {version} does not allow {command}, which came with {since}",
        )
    if command in ("GC", "STATUS"):
        return Request(command, "", "", "", config, args.network_configuration, version)
    if config.type != "antrea":
        raise CNIError(UNSUPPORTED_FIELD, f"Network configuration does not support type={config.type}")
    if config.ipam.type != "host-local":
        raise CNIError(
            UNSUPPORTED_FIELD, f"Network configuration does not support ipam/type={config.ipam.type}"
        )
    _check_environment(command, args)
    pairs = _cni_args(args.args)
    if command != "DEL":
        for key in ("K8S_POD_NAME", "K8S_POD_NAMESPACE"):
            if not pairs.get(key):
                raise CNIError(DECODING_FAILURE, f"Failed to decode CNI_ARGS: {key} is missing")
    return Request(
        command,
        args.container_id,
        netns_prefix + args.netns if args.netns else "",
        args.ifname,
        config,
        args.network_configuration,
        version,
        pod=pairs.get("K8S_POD_NAME", ""),
        namespace=pairs.get("K8S_POD_NAMESPACE", ""),
        pod_uid=pairs.get("K8S_POD_UID", ""),
    )


def _check_environment(command: str, args: pb.CniCmdArgs) -> None:
    if len(args.container_id) > _MAX_CONTAINER_ID or not _CONTAINER_ID.fullmatch(args.container_id):
        raise CNIError(
            INVALID_ENVIRONMENT_VARIABLES,
            f"CNI_CONTAINERID is {args.container_id!r}, which is no container ID",
        )
    name = args.ifname
    if (
        not 0 < len(name.encode()) <= _MAX_IFNAME
        or name in (".", "..")
        or any(char in "/:" or char.isspace() or not char.isprintable() for char in name)
    ):
        raise CNIError(INVALID_ENVIRONMENT_VARIABLES, f"CNI_IFNAME is {name!r}, which is no interface name")
    if command != "DEL" and not args.netns.startswith("/"):
        raise CNIError(
            INVALID_ENVIRONMENT_VARIABLES, f"CNI_NETNS is {args.netns!r}, which is no absolute path"
        )
    if "\0" in args.netns:
        raise CNIError(INVALID_ENVIRONMENT_VARIABLES, "CNI_NETNS holds a NUL character")


def _cni_args(text: str) -> dict[str, str]:
    """``K=V;K=V``; unknown keys are ignored, as IgnoreUnknown=1 asks (Kubernetes always sets it)."""
    pairs = {}
    for part in text.split(";"):
        if not part:
            continue
        key, equals, value = part.partition("=")
        if not equals:
            raise CNIError(DECODING_FAILURE, f"Failed to decode CNI_ARGS: {part!r} is not KEY=VALUE")
        pairs[key] = value
    return pairs


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
