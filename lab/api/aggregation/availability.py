"""Whether aggregated servers answer: the Available condition of each APIService, and their discovery.

A server is asked for its group version again and again: soon while it is not there (0.1 s to 1 s), every 10 s
while it is, at once when the APIService, its Service or Endpoints change, when a call to it fails, and when
somebody wants to know (discovery waits a moment for the answer). What it serves is read at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp
import msgspec

from apiserver.documents import clock
from apiserver.documents.kind import Kind
from apiserver.documents.registry import Registry
from apiserver.resources import Object
from lab.api.aggregation.backends import BackendError, Backends, complaint
from lab.api.reactor import Reactor
from runtime.tasks import OnCrash, Supervisor

OWN_GROUP = "apiregistration.k8s.io"  # of the aggregator, which has no APIService for itself
RESOURCE = f"apiservices.{OWN_GROUP}"
_FOREMOST = 20_001  # above what an APIService may ask for
_STEADY = 10.0
_FIRST, _SLOWEST, _GROWTH = 0.1, 1.0, 1.2
_DISCOVERY_WAIT = 0.3
_TIMEOUT = aiohttp.ClientTimeout(total=3, sock_connect=2)
AUTOMANAGED = "kube-aggregator.kubernetes.io/automanaged"


class _Probe:
    """The state of one APIService's server."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.asked = asyncio.Event()  # set after each question
        self.available = False
        self.resources: Object | None = None  # its APIResourceList
        self.task: asyncio.Task[None] | None = None


class Availability:
    def __init__(
        self, registry: Registry, reactor: Reactor, backends: Backends, supervisor: Supervisor
    ) -> None:
        self._registry = registry
        self._reactor = reactor
        self._backends = backends
        self._supervisor = supervisor
        self._probes: dict[str, _Probe] = {}
        registry.observe(self._observe)
        for api_service in registry.items(RESOURCE):
            self._follow(api_service["metadata"]["name"])

    # --- what changes ---

    def _observe(self, kind: Kind, old: Object | None, new: Object | None) -> None:
        obj = new if new is not None else old
        assert obj is not None
        if kind.resource == RESOURCE:
            if old is None or new is None or old.get("spec") != new.get("spec"):
                self._follow(obj["metadata"]["name"])
        elif kind.resource in ("services", "endpoints"):
            key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
            for api_service in self._registry.items(RESOURCE):
                service = api_service["spec"].get("service")
                if service and (service.get("namespace"), service.get("name")) == key:
                    self.check(api_service["metadata"]["name"])

    def check(self, name: str) -> None:
        """Asks the server again now: a call to it has failed, or something about it has changed."""
        probe = self._probes.get(name)
        if probe is not None:
            probe.wake.set()

    def is_available(self, name: str) -> bool:
        """Whether the server answered when it was last asked."""
        probe = self._probes.get(name)
        return probe is not None and probe.available

    def _follow(self, name: str) -> None:
        api_service = self._registry.get(RESOURCE, "", name)
        remote = api_service is not None and api_service["spec"].get("service") is not None
        if api_service is not None and not remote:
            self._report_soon(name, True, "Local", "Local APIServices are always available")
        probe = self._probes.get(name)
        if not remote:
            if probe is not None:
                del self._probes[name]
                probe.wake.set()
        elif probe is None:
            probe = self._probes[name] = _Probe()
            current = probe
            probe.task = self._supervisor.start(
                f"apiservice-{name}", lambda: self._run(name, current), OnCrash.RESTART
            )
        else:
            probe.wake.set()

    # --- asking ---

    async def _run(self, name: str, probe: _Probe) -> None:
        delay = _FIRST
        while self._probes.get(name) is probe:
            probe.wake.clear()
            reason, message = await self._ask(name, probe)
            if self._probes.get(name) is not probe:
                return  # about an APIService that is no more
            available = reason == "Passed"
            self._report_soon(name, available, reason, message)
            probe.asked.set()
            if available:
                delay = _STEADY
            else:
                delay = _FIRST if probe.available or delay == _STEADY else min(_SLOWEST, delay * _GROWTH)
            probe.available = available
            try:
                await asyncio.wait_for(probe.wake.wait(), delay)
            except TimeoutError:
                pass

    async def _ask(self, name: str, probe: _Probe) -> tuple[str, str]:
        """The condition's reason (Passed: it answers) and message."""
        api_service = self._registry.get(RESOURCE, "", name)
        if api_service is None or "service" not in api_service["spec"]:
            return "ServiceNotFound", "the APIService names no Service"
        spec = api_service["spec"]
        path = f"/apis/{spec['group']}/{spec['version']}"
        try:
            backend = self._backends.resolve(api_service)
            headers = {"X-Remote-User": "system:kube-aggregator", "X-Remote-Group": "system:masters"}
            async with self._backends.session.get(
                backend.url(path),
                ssl=backend.tls,
                server_hostname=backend.server_name,
                headers=headers,
                timeout=_TIMEOUT,
            ) as response:
                body = await response.read()
                if not 200 <= response.status < 300:
                    return "FailedDiscoveryCheck", f"bad status from {backend.url(path)}: {response.status}"
            probe.resources = msgspec.json.decode(body)
        except BackendError as error:
            return error.reason, str(error)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, msgspec.MsgspecError) as error:
            text = complaint(error)
            service = spec["service"].get("name")
            words = f"failing or missing response from {path} of service/{service}: {text}"
            return "FailedDiscoveryCheck", words
        return "Passed", "all checks passed"

    def _report_soon(self, name: str, state: bool, reason: str, message: str) -> None:
        self._reactor.soon(
            ("available", name, state, reason), lambda: self._report(name, state, reason, message)
        )

    def _report(self, name: str, state: bool, reason: str, message: str) -> None:
        api_service = self._registry.get(RESOURCE, "", name)
        if api_service is None:
            return
        status = "True" if state else "False"
        conditions = api_service.get("status", {}).get("conditions", [])
        before = next((c for c in conditions if c.get("type") == "Available"), None)
        if before is not None and (before["status"], before["reason"]) == (status, reason):
            return
        moved = before is None or before["status"] != status
        since = clock.stamp() if moved or before is None else before["lastTransitionTime"]
        condition = {
            "type": "Available",
            "status": status,
            "lastTransitionTime": since,
            "reason": reason,
            "message": message,
        }

        def change(obj: Object, _version: int) -> Object:
            kept = [c for c in obj.get("status", {}).get("conditions", ()) if c.get("type") != "Available"]
            obj["status"] = {**obj.get("status", {}), "conditions": [*kept, condition]}
            return obj

        kind = self._registry.kinds[RESOURCE]
        self._registry.update(kind, "", name, change, subresource="status", unconditional=True)

    # --- what they serve ---

    def remote(self, group: str, version: str) -> tuple[str, Object] | None:
        """Name and object of the APIService behind a group version that another server has."""
        name = f"{version}.{group}"
        api_service = self._registry.get(RESOURCE, "", name)
        if api_service is None or "service" not in api_service["spec"]:
            return None
        return name, api_service

    async def discovery(self) -> Sequence[Object]:
        """An APIGroupDiscovery for each group of other servers; ``rank`` orders them among the others."""
        await self._ask_the_absent()
        groups: dict[str, list[Object]] = {}
        for api_service in self._registry.items(RESOURCE):
            if "service" in api_service["spec"]:
                groups.setdefault(api_service["spec"]["group"], []).append(api_service)

        found: list[Object] = []
        for members in groups.values():
            ordered = sorted(members, key=lambda item: -item["spec"].get("versionPriority", 0))
            versions = [self._version(item) for item in ordered]
            found.append({"metadata": {"name": members[0]["spec"]["group"]}, "versions": versions})
        return found

    def rank(self, group: str) -> tuple[int, str]:
        """The key that sorts groups as kube-aggregator lists them: its own, then by the highest
        groupPriorityMinimum of their APIServices, then by name."""
        if group == OWN_GROUP:
            return -_FOREMOST, group
        specs = [item["spec"] for item in self._registry.items(RESOURCE)]
        priorities = [s.get("groupPriorityMinimum", 0) for s in specs if s.get("group", "") == group]
        return -max(priorities, default=0), group

    async def _ask_the_absent(self) -> None:
        """A server that has just come up is in the answer already."""
        absent = [probe for probe in self._probes.values() if not probe.available]
        if not absent:
            return
        for probe in absent:
            probe.asked.clear()
            probe.wake.set()
        waits = [asyncio.ensure_future(probe.asked.wait()) for probe in absent]
        _, late = await asyncio.wait(waits, timeout=_DISCOVERY_WAIT)
        for wait in late:
            wait.cancel()

    def _version(self, api_service: Object) -> Object:
        probe = self._probes.get(api_service["metadata"]["name"])
        spec = api_service["spec"]
        fresh = probe is not None and probe.available
        listed = (probe.resources or {}) if probe is not None else {}
        resources = _discovery_resources(listed, spec["group"], spec["version"])
        return {
            "version": spec["version"],
            "resources": resources,
            "freshness": "Current" if fresh else "Stale",
        }


def _discovery_resources(listed: Object, group: str, version: str) -> list[Object]:
    """An APIResourceList in the form of aggregated discovery."""
    entries: dict[str, Object] = {}
    items = listed.get("resources") or []
    for item in items:
        kind = {
            "group": item.get("group") or group,
            "version": item.get("version") or version,
            "kind": item["kind"],
        }
        name, _, sub = item["name"].partition("/")
        if sub:
            continue
        entry: Object = {
            "resource": name,
            "responseKind": kind,
            "scope": "Namespaced" if item.get("namespaced") else "Cluster",
            "singularResource": item.get("singularName") or item["kind"].lower(),
            "verbs": item.get("verbs", []),
        }
        for key in ("shortNames", "categories"):
            if item.get(key):
                entry[key] = item[key]
        entries[name] = entry
    for item in items:
        name, _, sub = item["name"].partition("/")
        if sub and name in entries:
            kind = {
                "group": item.get("group") or group,
                "version": item.get("version") or version,
                "kind": item["kind"],
            }
            part = {"subresource": sub, "responseKind": kind, "verbs": item.get("verbs", [])}
            entries[name].setdefault("subresources", []).append(part)
    return list(entries.values())
