"""SupportBundleCollection: logs and state of many Nodes, sent to a file server."""

from __future__ import annotations

from openapi.definitions.resource import Definition, Version, root
from openapi.definitions.schema import (
    Schema,
    any_of,
    choice,
    integer,
    record,
    required,
    string,
    strings,
)
from openapi.definitions.shapes import conditions, namespaced_name, selector


def _chosen(what: str, **fields: Schema) -> Schema:
    return record(
        f"{what}s whose bundles are collected; all of them if nothing else is said.",
        {
            **fields,
            "nodeNames": strings(f"{what}s by name."),
            "nodeSelector": selector(f"{what}s by label.", typed=False),
        },
    )


def _spec() -> Schema:
    authentication = {
        "authType": choice("How to log in.", "BearerToken", "APIKey", "BasicAuthentication"),
        "authSecret": namespaced_name("Secret with the credentials.", "Secret", needed=False),
    }
    file_server = {
        "url": string("Address of the file server."),
        "hostPublicKey": string("The server's SSH public key in wire format.", format="byte"),
    }
    namespace = required(string("Namespace of the ExternalNodes."))
    return record(
        "What is wanted.",
        {
            "nodes": _chosen("Node"),
            "externalNodes": _chosen("ExternalNode", namespace=namespace),
            "expirationMinutes": integer("Minutes until the collection is given up.", default=60),
            "sinceTime": string("How far the logs go back: 30m, 2h.", format="duration"),
            "fileServer": required(record("Where the bundles are sent.", file_server)),
            "authentication": required(record("How to log in to the file server.", authentication)),
        },
        **any_of("nodes", "externalNodes"),
    )


def _status() -> Schema:
    return record(
        "How far the collection is.",
        {
            "collectedNodes": integer("Nodes whose bundle is there."),
            "desiredNodes": integer("Nodes whose bundle is wanted."),
            "conditions": conditions("Started", "BundleCollected", "CollectionFailure", "Completed"),
        },
    )


SUPPORT_BUNDLE_COLLECTION = Definition(
    "SupportBundleCollection",
    "supportbundlecollections",
    ["sbc"],
    [
        Version(
            "v1alpha1",
            root("A request to collect logs and state of Nodes.", _spec(), _status()),
            status=True,
        )
    ],
    labelled=False,
)
