"""The machinery of an API server, which knows nothing of policy: register resources, get Kubernetes' API.

How to serve something
======================

::

    from apiserver.server import ApiServer
    from apiserver.listener import Listener

    server = ApiServer(title="lab", version={"major": "1", "minor": "34", "gitVersion": "v1.34.0"})
    listener = Listener(server)
    address = await listener.listen("127.0.0.1", 0, tls=certificate.context)   # or sock=…, without tls
    ...
    await listener.close()

**Resources that are published into stores** (read-only: get, list, watch)::

    from apiserver.endpoints import StoreEndpoint
    from apiserver.resources import ResourceInfo

    info = ResourceInfo(group="controlplane.antrea.io", version="v1beta2", plural="addressgroups",
                        kind="AddressGroup", store="addressgroups", node_scoped=True, bookmark_always=True,
                        media=frozenset({Media.JSON, Media.PROTOBUF}), not_found_name="addressgroup")
    server.register(StoreEndpoint(info, server.stores))
    server.stores.publish(changes)              # apis.record.Change; change.resource is info.store

**Documents that clients write** (create, update, patch, apply, delete, deletecollection as well; see
apiserver.documents)::

    from apiserver.documents.endpoint import DocumentEndpoint
    from apiserver.documents.kind import Kind   # override what is particular: default, validate, fields …
    from apiserver.documents.registry import Registry
    from apiserver.resources import Subresource

    class Namespaces(Kind):
        group, version, kind = "", "v1", "Namespace"
        plural, singular, namespaced = "namespaces", "namespace", False
        short_names = ("ns",)
        has_status = True                       # serves /status
        def validate(self, obj, errors): ...    # errors.invalid("spec.x", value, "must be …")

    registry = Registry(server.stores)
    registry.add_kind(namespaces := Namespaces())
    finalize = Subresource("finalize", "Namespace", ("update",))
    endpoint = DocumentEndpoint(namespaces, registry, extra=(finalize,))
    endpoint.subresources["finalize"] = handler  # async (context, namespace, name, body) -> answer
    server.register(endpoint)

Programs in the same process write through the registry: ``registry.create(kind, obj)``, ``.update(kind,
namespace, name, change)``, ``.delete(…)``, ``.get(…)``, ``.items(resource)``; ``registry.observe`` tells them
of every change, ``registry.admit`` adds rules that need other objects, ``registry.restore`` loads saved
state.

**Answers that are computed** (TokenReview, statistics)::

    from apiserver.endpoints import FunctionEndpoint, Functions
    server.register(FunctionEndpoint(info, Functions(create=review)))   # async (context, namespace, object)

**Paths that are no resources**: ``server.path("/metrics", handler)``, ``prefix=True`` for everything below;
the handler is async (context) -> aiohttp response and may stream. ``server.health.add(name, check)``.

**At run time** ``server.register`` and ``server.unregister(group, version, plural)`` may be called at any
time. ``server.fallback`` (async (context) -> response or None) sees requests for groups that are not
registered here, and ``server.discovery.external`` names those groups: together they are what aggregation
needs.

**Who may**: ``authenticators`` and ``authorizer`` (apiserver.auth) are protocols; apiserver.authentication
has bearer tokens, request headers and client certificates, with reviewers given by the caller.

**Our agents' stream**: ``server.path("/agentwatch", AgentWatch(server.stores, infos, markers).serve)``
(apiserver.agentwatch), and ``server.stores.mark(node, namespace, name, uid)``.

The inside, in the order of a request
=====================================

listener → server → request, negotiation → endpoints / documents.endpoint → documents.registry → stores →
history, watcher → stream, events → render, table. Failures are errors.StatusError on every level.
"""
