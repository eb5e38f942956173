"""Traceflow: a packet is made up in the name of a Pod, which must be there and have a network of its own."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Final

import msgspec

from apis.gojson import unmarshal
from apiserver.admission import ALLOWED, AdmissionRequest, Verdict, refused
from apiserver.errors import unavailable
from client.errors import ApiError, ConnectionFailed
from client.resources import PODS
from client.rest import RestClient
from controller.admission.objects import ObjectMeta, V1Beta1

TIMEOUT: Final = 3.0  # seconds; kube-apiserver waits 5 for a webhook
# What can stand in a path as a name. Nothing else is the name of a Pod or a Namespace.
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class Source(V1Beta1):
    namespace: str | None = None
    pod: str | None = None
    ip: str | None = None


class Destination(V1Beta1):
    namespace: str | None = None
    pod: str | None = None
    service: str | None = None
    ip: str | None = None


class TraceflowSpec(V1Beta1):
    source: Source | None = None
    destination: Destination | None = None
    live_traffic: bool | None = None


class Traceflow(V1Beta1):
    metadata: ObjectMeta | None = None
    spec: TraceflowSpec | None = None


class _PodSpec(msgspec.Struct, rename="camel"):
    host_network: bool = False


class _Pod(msgspec.Struct):
    spec: _PodSpec = msgspec.field(default_factory=_PodSpec)


class TraceflowRules:
    """Asks the Kubernetes API for the Pod: Traceflows are rare, and a Pod may be a second old."""

    def __init__(self, client: RestClient) -> None:
        self._client = client

    def __call__(self, request: AdmissionRequest) -> Verdict | Awaitable[Verdict]:
        if request.operation not in ("CREATE", "UPDATE"):
            return refused(f"invalid request operation {request.operation} for Traceflow")
        traceflow = unmarshal(request.object, Traceflow) if request.object else Traceflow()
        spec = traceflow.spec or TraceflowSpec()
        source, destination = spec.source or Source(), spec.destination or Destination()
        if not spec.live_traffic:
            if not source.namespace or not source.pod:
                return refused("source Pod must be specified in non-live-traffic Traceflow")
            return self._sender(source.namespace, source.pod)
        if not source.pod and not destination.pod:
            name = (traceflow.metadata.name or "") if traceflow.metadata else ""
            return refused(f"Traceflow {name} has neither source nor destination Pod specified")
        return ALLOWED

    async def _sender(self, namespace: str, name: str) -> Verdict:
        pod = await self._pod(namespace, name)
        if pod is None:
            return refused(f"requested source Pod {namespace}/{name} not found")
        if pod.spec.host_network:
            return refused("using hostNetwork Pod as source in non-live-traffic Traceflow is not supported")
        return ALLOWED

    async def _pod(self, namespace: str, name: str) -> _Pod | None:
        """None if there is none. Raises StatusError (503) if that cannot be found out."""
        if not _NAME.fullmatch(namespace) or not _NAME.fullmatch(name):
            return None
        try:
            answer = await self._client.request("GET", PODS.path(name, namespace), timeout=TIMEOUT)
            return msgspec.json.decode(answer.body, type=_Pod)
        except ApiError as error:
            if error.status == 404:
                return None
            problem = error.message
        except (ConnectionFailed, msgspec.MsgspecError) as error:
            problem = str(error)
        raise unavailable(
            f"the source Pod {namespace}/{name} cannot be read from the Kubernetes API: {problem}"
        )
