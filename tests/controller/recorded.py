"""A controller whose stores hold what the recorded controller's held, and the requests that were put to that.

The recording (tests/data/protocol) is of Antrea v2.7.0. What its stores held is read out of its own answers:
the objects are not computed here. Everything else is what antrea-controller registers.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from yarl import URL

from apis.controlplane import v1beta2
from apis.envelope import unwrap
from apis.meta import v1 as meta
from apis.record import Change, Media
from apiserver.auth import User
from apiserver.authentication import StaticTokens
from apiserver.listener import Listener
from apiserver.server import ApiServer
from client.endpoint import Endpoint
from client.rest import RestClient
from controller.admission import registration
from controller.admission.registration import Circumstances
from controller.api import groups, policies, stats, system
from controller.api.bundles import SupportBundles
from controller.api.paths import FeatureGatesPath, register_common
from controller.api.resources import StatsCodec
from controller.config import Environment
from controller.info import ControllerInfo
from controller.realization import Realization
from runtime import version
from runtime.features import FeatureGates

DATA = Path(__file__).parents[1] / "data" / "protocol"

Case = dict[str, Any]

KINDS = {
    "addressgroups": "AddressGroup",
    "appliedtogroups": "AppliedToGroup",
    "networkpolicies": "NetworkPolicy",
    "egressgroups": "EgressGroup",
}


def load(name: str) -> list[Case]:
    cases: list[Case] = json.loads((DATA / f"{name}.json").read_text())
    return cases


REQUESTS, WATCHES, DISCOVERY = load("requests"), load("watches"), load("discovery")


class RecordedObject:
    """An object as it was recorded, on node-1."""

    namespace = ""
    labels: Mapping[str, str] = {}
    has_views = False
    span = frozenset({"node-1"})

    def __init__(self, kind: str, document: dict[str, Any]) -> None:
        self.kind = kind
        self.name = document["metadata"]["name"]
        self.uid = document["metadata"]["uid"]
        self._document = {key: value for key, value in document.items() if key not in ("kind", "apiVersion")}

    def encode(self, media: Media, view: str | None, version: str) -> bytes:
        return self._encoded(media, self._document, version)

    def tombstone(self, media: Media, version: str) -> bytes:
        return self._encoded(media, {"metadata": self._document["metadata"]}, version)

    def _encoded(self, media: Media, document: dict[str, Any], version: str) -> bytes:
        metadata = document["metadata"] | ({"resourceVersion": version} if version else {})
        document = {**document, "metadata": metadata}
        if media is Media.PROTOBUF:
            return v1beta2.encode_message(self.kind, document)
        return json.dumps(document, separators=(",", ":")).encode()


def objects() -> dict[str, list[dict[str, Any]]]:
    """By resource, everything that some recorded answer shows."""
    found: dict[str, dict[str, dict[str, Any]]] = {plural: {} for plural in KINDS}
    for case in [*REQUESTS, *WATCHES]:
        response = case["response"]
        shown = [event["object"] for event in response.get("events", ()) if event["type"] == "ADDED"]
        answer = response.get("json") or (yaml.safe_load(response["text"]) if _is_yaml(response) else None)
        if isinstance(answer, dict) and str(answer.get("kind", "")).endswith("List"):
            kind = answer["kind"].removesuffix("List")
            shown += [{"kind": kind, **item} for item in answer.get("items", ())]
        for item in shown:
            for plural, kind in KINDS.items():
                if item.get("kind") == kind:
                    found[plural][item["metadata"]["name"]] = item
    # Nobody asked for AppliedToGroups; the policies name them.
    names = {name for policy in found["networkpolicies"].values() for name in policy["appliedToGroups"]}
    found["appliedtogroups"] = {
        name: {"kind": "AppliedToGroup", "metadata": {"name": name, "uid": name}} for name in sorted(names)
    }
    return {plural: list(items.values()) for plural, items in found.items()}


def _is_yaml(response: dict[str, Any]) -> bool:
    return bool(response.get("headers", {}).get("Content-Type") == "application/yaml")


class Recorded:
    """The running controller. ``admin`` of every request that is not anonymous has a token."""

    def __init__(self, url: str, statistics: stats.PolicyStatistics, realization: Realization) -> None:
        self.url = url
        self.statistics = statistics
        self.realization = realization
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20))

    def ask(self, request: Case) -> Any:
        """The answer to a recorded request, to be used with ``async with``."""
        headers = dict(request.get("headers") or {})
        body = request.get("body")
        if isinstance(body, dict):
            body = base64.b64decode(body["base64"])
        skip = () if "Content-Type" in headers else ("Content-Type",)
        if "User-Agent" not in headers:
            skip += ("User-Agent",)
        url = URL(self.url + request["path"], encoded=True)
        return self.session.request(
            request["method"], url, headers=headers, data=body, skip_auto_headers=skip
        )


@asynccontextmanager
async def controller(*, with_objects: bool = True) -> AsyncIterator[Recorded]:
    server = ApiServer(
        title="Antrea",
        version=version.document(),
        authenticators=[StaticTokens({"secret": User("admin", ("system:masters",))})],
    )
    kube = RestClient(Endpoint("http://127.0.0.1:1"))  # nobody is there: defaults are answered
    gates = FeatureGatesPath(kube, "kube-system", FeatureGates("C"))
    info = ControllerInfo(
        server.stores, Environment("kube-system", "antrea-controller-0", "n0"), 10349, lambda: 0
    )
    bundles = SupportBundles(server.stores, info)
    statistics, realization = stats.PolicyStatistics(), Realization()
    for endpoint in (
        *policies.endpoints(server.stores, realization),
        *stats.endpoints(statistics),
        *groups.endpoints(),
        *system.endpoints(info, gates, bundles),
        *stats.stats_endpoints(statistics),
    ):
        server.register(endpoint)
    server.path("/featuregates", gates.serve)
    register_common(server, with_metrics=True)
    registration.register(server, Circumstances(FeatureGates("C"), kube, "controller"))
    server.health.add("informer-sync", lambda: None, live=False)
    server.health.add("shutdown", lambda: None, live=False)
    if with_objects:
        for plural, documents in objects().items():
            changes = [
                Change(plural, None, RecordedObject(KINDS[plural], document)) for document in documents
            ]
            server.stores.publish(changes)
        statistics.exists("a", "np", "2fa92e40-08f0-4019-a2c6-56567ba13e81")
    listener = Listener(server)
    _, port = await listener.listen("127.0.0.1", 0)
    running = Recorded(f"http://127.0.0.1:{port}", statistics, realization)
    yield running
    await running.session.close()
    await bundles.close()
    await listener.close(grace=0.2)
    await kube.close()


def decoded(body: bytes) -> Any:
    """A protobuf body as JSON data."""
    enveloped = unwrap(body)
    if enveloped.kind in ("Status", "PartialObjectMetadata", "PartialObjectMetadataList"):
        document = meta.decode_kind(enveloped.kind, enveloped.raw)
    elif enveloped.api_version.startswith("stats."):
        document = StatsCodec().decode(enveloped.kind, enveloped.raw)
    else:
        document = v1beta2.decode_message(enveloped.kind, enveloped.raw)
    return {"kind": enveloped.kind, "apiVersion": enveloped.api_version, **document}
