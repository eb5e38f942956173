"""May they: requests against RBAC."""

from __future__ import annotations

from apiserver.auth import Decision, User
from apiserver.request import RequestInfo
from lab.api.access.rbac import Ask, Rbac, Who


def who(user: User) -> Who:
    return Who(user.name, user.groups, user.uid, user.extra)


class ClusterAuthorizer:
    def __init__(self, rbac: Rbac) -> None:
        self._rbac = rbac

    async def authorize(self, user: User, info: RequestInfo) -> Decision:
        if info.is_resource:
            namespace = info.namespace
            if info.resource == "namespaces" and not info.group:
                namespace = info.name  # a Role in a namespace may speak of the namespace itself
            ask = Ask(info.verb, info.group, info.resource, info.subresource, namespace, info.name)
        else:
            ask = Ask(info.verb, path=info.path)
        reason = self._rbac.allowed(who(user), ask)
        return Decision(True, reason) if reason is not None else Decision(False)
