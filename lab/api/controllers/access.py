"""Keeps the RBAC evaluator current, and gives aggregated ClusterRoles their rules."""

from __future__ import annotations

from apiserver.documents.kind import Kind
from apiserver.documents.registry import Registry
from apiserver.resources import Object
from lab.api.access.rbac import Rbac, selects
from lab.api.kinds.access import GROUP
from lab.api.reactor import Reactor

_CLUSTER_ROLES = f"clusterroles.{GROUP}"


class AccessController:
    def __init__(self, registry: Registry, reactor: Reactor, rbac: Rbac) -> None:
        self._registry = registry
        self._reactor = reactor
        self._rbac = rbac
        registry.observe(self._observe)

    def _observe(self, kind: Kind, old: Object | None, new: Object | None) -> None:
        if kind.group != GROUP:
            return
        obj = new if new is not None else old
        assert obj is not None
        namespace, name = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
        if kind.plural in ("roles", "clusterroles"):
            self._rbac.role_changed(namespace, name, new)
            if kind.plural == "clusterroles":
                self._reactor.soon("aggregate-roles", self._aggregate)
        else:
            self._rbac.binding_changed(namespace, name, new)

    def _aggregate(self) -> None:
        """Queued again by its own writes: aggregated roles are aggregated in turn (view, edit, admin)."""
        roles = sorted(self._registry.items(_CLUSTER_ROLES), key=lambda role: role["metadata"]["name"])
        for role in roles:
            selectors = role.get("aggregationRule", {}).get("clusterRoleSelectors")
            if not selectors:
                continue
            rules: list[Object] = []
            for other in roles:
                if other is role:
                    continue
                labels = other["metadata"].get("labels", {})
                if any(selects(selector, labels) for selector in selectors):
                    rules += [rule for rule in other.get("rules") or () if rule not in rules]
            if rules != (role.get("rules") or []):
                self._set_rules(role["metadata"]["name"], rules)

    def _set_rules(self, name: str, rules: list[Object]) -> None:
        def change(obj: Object, _version: int) -> Object:
            obj["rules"] = rules
            return obj

        self._registry.update(self._registry.kinds[_CLUSTER_ROLES], "", name, change, unconditional=True)
