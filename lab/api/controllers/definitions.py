"""CustomResourceDefinitions: names accepted, established, served; and cleaned up after when they go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from apiserver.documents import clock
from apiserver.documents.kind import Kind
from apiserver.documents.registry import Registry
from apiserver.errors import StatusError
from apiserver.resources import Object
from lab.api.custom.kind import CustomKind
from lab.api.reactor import Reactor

RESOURCE = "customresourcedefinitions.apiextensions.k8s.io"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
Serve = Callable[[CustomKind], None]
Withdraw = Callable[[str, str, str], None]  # group, version, plural


class DefinitionController:
    """``serve`` and ``withdraw`` put a version on the API and take it off."""

    def __init__(self, registry: Registry, reactor: Reactor, serve: Serve, withdraw: Withdraw) -> None:
        self._registry = registry
        self._reactor = reactor
        self._serve = serve
        self._withdraw = withdraw
        self._served: dict[str, dict[str, Object]] = {}  # CRD name → version → spec it was served with
        registry.observe(self._observe)

    def _observe(self, kind: Kind, old: Object | None, new: Object | None) -> None:
        if kind.resource == RESOURCE:
            obj = new if new is not None else old
            assert obj is not None
            name = obj["metadata"]["name"]
            self._reactor.soon(("definition", name), lambda: self._sync(name))
        elif isinstance(kind, CustomKind) and new is None:
            name = kind.resource
            definition = self._registry.get(RESOURCE, "", name)
            if definition is not None and definition["metadata"].get("deletionTimestamp"):
                self._reactor.soon(("definition", name), lambda: self._sync(name))

    def _sync(self, name: str) -> None:
        definition = self._registry.get(RESOURCE, "", name)
        if definition is None:
            self._stop(name)
            return
        if definition["metadata"].get("deletionTimestamp"):
            self._clean_up(name, definition)
            return
        problem = self._name_problem(definition)
        self._set_status(name, definition, problem)
        if not problem:
            self._start(name, definition)

    # --- serving ---

    def _start(self, name: str, definition: Object) -> None:
        versions = [v for v in definition["spec"]["versions"] if v.get("served")]
        before = self._served.get(name, {})
        storage = next((v["name"] for v in definition["spec"]["versions"] if v.get("storage")), "")
        ordered = sorted(versions, key=lambda v: v["name"] == storage)  # the last one added is the registry's
        for version in ordered:
            kind = CustomKind(definition, version)
            self._registry.add_kind(kind)
            wanted = {"spec": definition["spec"], "version": version}
            if before.get(version["name"]) != wanted:
                self._serve(kind)
        now = {v["name"]: {"spec": definition["spec"], "version": v} for v in versions}
        group, plural = definition["spec"]["group"], definition["spec"]["names"]["plural"]
        for gone in before.keys() - now.keys():
            self._withdraw(group, gone, plural)
        self._served[name] = now

    def _stop(self, name: str) -> None:
        before = self._served.pop(name, {})
        for version, how in before.items():
            self._withdraw(how["spec"]["group"], version, how["spec"]["names"]["plural"])
        if before:
            self._registry.remove_kind(name)

    # --- names ---

    def _others(self, name: str, group: str) -> Iterator[Object]:
        for other in self._registry.items(RESOURCE):
            if other["metadata"]["name"] != name and other["spec"]["group"] == group:
                yield other["status"].get("acceptedNames", {})

    def _name_problem(self, definition: Object) -> str:
        names = definition["spec"]["names"]
        group = definition["spec"]["group"]
        taken: set[str] = set()
        kinds: set[str] = set()
        for other in self._others(definition["metadata"]["name"], group):
            taken |= {other.get("plural", ""), other.get("singular", ""), *other.get("shortNames", ())}
            kinds |= {other.get("kind", ""), other.get("listKind", "")}
        for word in (names.get("plural"), names.get("singular"), *names.get("shortNames", ())):
            if word and word in taken:
                return f'"{word}" is already in use'
        for word in (names.get("kind"), names.get("listKind")):
            if word and word in kinds:
                return f'"{word}" is already in use'
        return ""

    def _set_status(self, name: str, definition: Object, problem: str) -> None:
        accepted = (
            _condition("NamesAccepted", False, "NameConflict", problem)
            if problem
            else _condition("NamesAccepted", True, "NoConflicts", "no conflicts found")
        )
        established = (
            _condition("Established", False, "NotAccepted", "not all names are accepted")
            if problem
            else _condition(
                "Established", True, "InitialNamesAccepted", "the initial names have been accepted"
            )
        )
        names = definition["spec"]["names"] if not problem else definition["status"].get("acceptedNames", {})

        def change(obj: Object, _version: int) -> Object:
            status = obj.setdefault("status", {})
            before = {c["type"]: c for c in status.get("conditions", ())}
            conditions = [accepted, established]
            if problem and before.get("Established", {}).get("status") == "True":
                conditions = [accepted, before["Established"]]
            for condition in conditions:
                previous = before.get(condition["type"])
                if previous is not None and previous["status"] == condition["status"]:
                    condition["lastTransitionTime"] = previous["lastTransitionTime"]
            kept = [
                c for c in status.get("conditions", ()) if c["type"] not in ("NamesAccepted", "Established")
            ]
            status["conditions"] = [*conditions, *kept]
            status["acceptedNames"] = names
            return obj

        self._change(name, change, "status")
        if CLEANUP not in definition["metadata"].get("finalizers", ()):

            def guard(obj: Object, _version: int) -> Object:
                obj["metadata"]["finalizers"] = [*obj["metadata"].get("finalizers", ()), CLEANUP]
                return obj

            self._change(name, guard, "")

    def _change(self, name: str, change: Callable[[Object, int], Object], subresource: str) -> None:
        kind = self._registry.kinds[RESOURCE]
        self._registry.update(kind, "", name, change, subresource=subresource, unconditional=True)

    # --- the end ---

    def _clean_up(self, name: str, definition: Object) -> None:
        kind = self._registry.kinds.get(name)
        left = 0
        if kind is not None:
            for obj in list(self._registry.items(name)):
                metadata = obj["metadata"]
                try:
                    _, gone = self._registry.delete(kind, metadata.get("namespace", ""), metadata["name"])
                except StatusError as error:
                    gone = error.code == 404
                left += not gone
        if left:
            return  # objects with finalizers: this runs again when one goes

        def release(obj: Object, _version: int) -> Object:
            obj["metadata"]["finalizers"] = [f for f in obj["metadata"].get("finalizers", ()) if f != CLEANUP]
            return obj

        self._change(name, release, "")


def _condition(kind: str, state: bool, reason: str, message: str) -> dict[str, Any]:
    return {
        "lastTransitionTime": clock.stamp(),
        "message": message,
        "reason": reason,
        "status": "True" if state else "False",
        "type": kind,
    }
