"""The pods that the API says run on this node: asked once at start, to find what was left behind."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

import msgspec

from agent.model import IPAddress
from client.errors import ApiError, ConnectionFailed
from client.rest import RestClient
from runtime import log

logger = log.get(__name__)

_PAGE = 500


@dataclass(frozen=True, slots=True)
class LocalPod:
    namespace: str
    name: str
    uid: str
    ips: tuple[IPAddress, ...] = ()


class _PodIP(msgspec.Struct):
    ip: str = ""


class _Status(msgspec.Struct, rename="camel"):
    pod_ips: list[_PodIP] | None = msgspec.field(name="podIPs", default=None)


class _Spec(msgspec.Struct, rename="camel"):
    host_network: bool | None = None


class _Meta(msgspec.Struct):
    name: str = ""
    namespace: str = ""
    uid: str = ""


class _Pod(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


class _ListMeta(msgspec.Struct):
    continue_: str | None = msgspec.field(name="continue", default=None)


class _List(msgspec.Struct):
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)
    items: list[msgspec.Raw] | None = None


_decode_list = msgspec.json.Decoder(_List).decode
_decode_pod = msgspec.json.Decoder(_Pod).decode


async def list_local_pods(client: RestClient, node: str) -> list[LocalPod] | None:
    """The pods of the node without those in the host's network.

    None where the API does not answer, or answers with something unreadable: then nobody can say what was
    left behind, and nothing must be collected.
    """
    pods: list[LocalPod] = []
    token = ""
    try:
        while True:
            query: dict[str, str | int] = {"fieldSelector": f"spec.nodeName={node}", "limit": _PAGE}
            if token:
                query["continue"] = token
            page = _decode_list(await client.get("/api/v1/pods", query))
            for raw in page.items or ():
                pod = _decode_pod(raw)
                if not pod.spec.host_network:
                    pods.append(_local(pod))
            token = page.metadata.continue_ or ""
            if not token:
                return pods
    except (ApiError, ConnectionFailed, msgspec.DecodeError, ValueError) as error:
        logger.warning("The pods of node %s cannot be listed, nothing is collected: %s", node, error)
        return None


def _local(pod: _Pod) -> LocalPod:
    ips = []
    for entry in pod.status.pod_ips or ():
        try:
            ips.append(ipaddress.ip_address(entry.ip))
        except ValueError:
            continue
    return LocalPod(pod.metadata.namespace, pod.metadata.name, pod.metadata.uid, tuple(ips))
