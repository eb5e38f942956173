"""The stores that agents watch, and the reports that agents send about them."""

from __future__ import annotations

from typing import Any

from apiserver.endpoints import Answer, Endpoint, Functions, StoreEndpoint
from apiserver.errors import StatusError, bad_request
from apiserver.request import Context
from apiserver.resources import Object
from apiserver.stores import Stores
from controller.api import resources
from controller.api.routes import RoutedEndpoint
from controller.realization import Realization

# The stores of the multiplexed watch, in the order in which a fresh agent must learn of them.
AGENT_STORES = (resources.ADDRESS_GROUPS, resources.APPLIED_TO_GROUPS, resources.NETWORK_POLICIES)
SUCCESS: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def endpoints(stores: Stores, realization: Realization) -> list[Endpoint]:
    policies = StoreEndpoint(resources.NETWORK_POLICIES, stores)
    bundles = StoreEndpoint(resources.SUPPORT_BUNDLE_COLLECTIONS, stores)

    async def report(ctx: Context, namespace: str, name: str, body: Object | None) -> Answer:
        status = _matching(name, body, "NetworkPolicyStatus")
        if not ctx.dry_run and stores.get(resources.NETWORK_POLICIES.store, ("", name)) is not None:
            realization.report(name, status.get("nodes") or [])
        return SUCCESS

    async def collected(ctx: Context, namespace: str, name: str, body: Object | None) -> Answer:
        _matching(name, body, "SupportBundleCollectionStatus")
        return SUCCESS

    policies.subresources["status"] = report
    bundles.subresources["status"] = collected
    return [
        StoreEndpoint(resources.ADDRESS_GROUPS, stores),
        StoreEndpoint(resources.APPLIED_TO_GROUPS, stores),
        policies,
        StoreEndpoint(resources.EGRESS_GROUPS, stores),
        bundles,
        RoutedEndpoint(resources.EVALUATION, Functions(create=_evaluate)),
    ]


def _matching(name: str, body: Object | None, kind: str) -> dict[str, Any]:
    if body is None or body["metadata"].get("name", "") != name:
        raise bad_request(f"name in URL does not match name in {kind} object")
    return body


async def _evaluate(ctx: Context, namespace: str, body: Object) -> Answer:
    # An answer without a response would mean that no policy applies: that must not be said unchecked.
    raise StatusError(501, "", "This version of antrea-py does not evaluate policies yet.")
