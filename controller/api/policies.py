"""The stores that agents watch, and the reports that agents send about them."""

from __future__ import annotations

from typing import Any

from apiserver.endpoints import Answer, Endpoint, Functions, StoreEndpoint
from apiserver.errors import StatusError, bad_request, not_found
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

    async def status(ctx: Context, namespace: str, name: str, body: Object | None) -> Answer:
        stored = stores.get(resources.NETWORK_POLICIES.store, ("", name))
        if ctx.http.method == "GET":
            if stored is None:
                raise not_found(resources.NETWORK_POLICIES, name)
            return _where_in_force(realization, name, stored.record.span or frozenset())
        report = _matching(name, body, "NetworkPolicyStatus")
        if not ctx.dry_run and stored is not None:
            realization.report(name, report.get("nodes") or [])
        return SUCCESS

    async def collected(ctx: Context, namespace: str, name: str, body: Object | None) -> Answer:
        _matching(name, body, "SupportBundleCollectionStatus")
        return SUCCESS

    policies.subresources["status"] = status
    bundles.subresources["status"] = collected
    return [
        StoreEndpoint(resources.ADDRESS_GROUPS, stores),
        StoreEndpoint(resources.APPLIED_TO_GROUPS, stores),
        policies,
        StoreEndpoint(resources.EGRESS_GROUPS, stores),
        bundles,
        RoutedEndpoint(resources.EVALUATION, Functions(create=_evaluate)),
    ]


def _where_in_force(realization: Realization, name: str, span: frozenset[str]) -> Object:
    """What the nodes of a policy's span have reported. One that has not reported yet has no generation."""
    reports = realization.of(name)
    nodes: list[Object] = []
    for node in sorted(span):
        entry: Object = {"nodeName": node}
        report = reports.get(node)
        if report is not None and report.generation:
            entry["generation"] = report.generation
        entry["realizationFailure"] = report is not None and report.failed
        if report is not None and report.message:
            entry["message"] = report.message
        nodes.append(entry)
    document = {"kind": "NetworkPolicyStatus", "apiVersion": resources.NETWORK_POLICIES.api_version}
    return {**document, "metadata": {"name": name}, **({"nodes": nodes} if nodes else {})}


def _matching(name: str, body: Object | None, kind: str) -> dict[str, Any]:
    if body is None or body["metadata"].get("name", "") != name:
        raise bad_request(f"name in URL does not match name in {kind} object")
    return body


async def _evaluate(ctx: Context, namespace: str, body: Object) -> Answer:
    # An answer without a response would mean that no policy applies: that must not be said unchecked.
    raise StatusError(501, "", "This version of antrea-py does not evaluate policies yet.")
