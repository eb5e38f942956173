"""The resources that a server has at the moment: by group, version and plural name. They come and go at run
time."""

from __future__ import annotations

from collections.abc import Callable

from apiserver.endpoints import Endpoint
from apiserver.resources import ResourceInfo

GroupVersion = tuple[str, str]


class Registry:
    """Endpoints in order of registration; ``on_change`` listeners learn of every change (discovery,
    OpenAPI)."""

    def __init__(self) -> None:
        self._endpoints: dict[tuple[str, str, str], Endpoint] = {}
        self._versions: dict[GroupVersion, dict[str, Endpoint]] = {}
        self._preferred: dict[str, str] = {}
        self.generation = 0
        self.on_change: list[Callable[[], None]] = []

    def add(self, endpoint: Endpoint) -> None:
        """Registers, or replaces what has the same group, version and plural name."""
        info = endpoint.info
        self._endpoints[(info.group, info.version, info.plural)] = endpoint
        self._versions.setdefault((info.group, info.version), {})[info.plural] = endpoint
        self._changed()

    def remove(self, group: str, version: str, plural: str) -> Endpoint | None:
        endpoint = self._endpoints.pop((group, version, plural), None)
        if endpoint is not None:
            resources = self._versions[(group, version)]
            del resources[plural]
            if not resources:
                del self._versions[(group, version)]
            self._changed()
        return endpoint

    def _changed(self) -> None:
        self.generation += 1
        for listener in self.on_change:
            listener()

    def has_kind(self, api_version: str, kind: str) -> bool:
        """Whether some resource, or one of its subresources, is of this kind."""
        group, _, version = api_version.rpartition("/")
        infos = [endpoint.info for endpoint in self._versions.get((group, version), {}).values()]
        kinds = {name for info in infos for name in (info.kind, info.list_kind)}
        return kind in kinds or any(sub.kind == kind for info in infos for sub in info.subresources)

    def find(self, group: str, version: str, plural: str) -> Endpoint | None:
        return self._endpoints.get((group, version, plural))

    def has_version(self, group: str, version: str) -> bool:
        return (group, version) in self._versions

    def has_group(self, group: str) -> bool:
        return any(known == group for known, _ in self._versions)

    def prefer(self, group: str, version: str) -> None:
        """Lists this version of the group first."""
        self._preferred[group] = version

    def groups(self) -> list[str]:
        """The named groups in order of registration."""
        return list(dict.fromkeys(group for group, _ in self._versions if group))

    def versions(self, group: str) -> list[str]:
        """The group's versions, the preferred one first."""
        found = [version for known, version in self._versions if known == group]
        preferred = self._preferred.get(group)
        return sorted(found, key=lambda version: version != preferred)

    def resources(self, group: str, version: str) -> list[ResourceInfo]:
        """Sorted by plural name."""
        endpoints = self._versions.get((group, version), {})
        return [endpoints[plural].info for plural in sorted(endpoints)]

    def infos(self) -> list[ResourceInfo]:
        return [endpoint.info for endpoint in self._endpoints.values()]

    def group_versions(self) -> list[GroupVersion]:
        return list(self._versions)
