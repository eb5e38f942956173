"""Members and associations of Groups and ClusterGroups. This version has no such groups yet: what is asked
about all groups is answered with none, what is asked about one group is not found."""

from __future__ import annotations

import ipaddress

from apiserver.endpoints import Answer, Endpoint, Functions
from apiserver.errors import bad_request, not_found
from apiserver.request import Context
from apiserver.resources import ResourceInfo
from controller.api import resources
from controller.api.routes import RoutedEndpoint


def endpoints() -> list[Endpoint]:
    return [
        _members(resources.CLUSTER_GROUP_MEMBERS),
        _members(resources.GROUP_MEMBERS),
        RoutedEndpoint(resources.GROUP_ASSOCIATIONS, Functions(get=_associations)),
        RoutedEndpoint(resources.IP_GROUP_ASSOCIATIONS, Functions(get=_ip_associations)),
    ]


def _members(info: ResourceInfo) -> Endpoint:
    async def get(ctx: Context, namespace: str, name: str) -> Answer:
        for key in ("page", "limit"):
            value = ctx.query.get(key)
            if value is not None and not value.lstrip("-").isdigit():
                raise bad_request(f'strconv.ParseInt: parsing "{value}": invalid syntax')
            if value is not None and int(value) < 0:
                what = "limit" if key == "limit" else "number"
                raise bad_request(f"received invalid page {what} {value} for pagination")
        raise not_found(info, name)

    return RoutedEndpoint(info, Functions(get=get))


async def _associations(ctx: Context, namespace: str, name: str) -> Answer:
    return {
        "kind": "GroupAssociation",
        "apiVersion": resources.GROUP_ASSOCIATIONS.api_version,
        "metadata": {},
        "associatedGroups": [],
    }


async def _ip_associations(ctx: Context, namespace: str, name: str) -> Answer:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        raise bad_request("not a valid IP address") from None
    return {
        "kind": "IPGroupAssociation",
        "apiVersion": resources.IP_GROUP_ASSOCIATIONS.api_version,
        "metadata": {},
        "associatedGroups": [],
    }
