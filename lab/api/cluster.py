"""Puts the cluster together: kinds, controllers, access, and the HTTP server in front of them."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable, Sequence

from apiserver.auth import User
from apiserver.documents.endpoint import DocumentEndpoint
from apiserver.documents.kind import Kind
from apiserver.documents.registry import Registry
from apiserver.resources import Object
from apiserver.server import ApiServer
from apiserver.stores import Stores
from apiserver.versions import COUNTER_BITS, EPOCHS_PER_SECOND, Versions
from lab.api import subresources
from lab.api.access import bootstrap
from lab.api.access.authentication import ClusterAuthenticator, Reviewer
from lab.api.access.authorization import ClusterAuthorizer
from lab.api.access.rbac import MASTERS, Rbac
from lab.api.access.tokens import TokenSigner
from lab.api.admission import Admission
from lab.api.aggregation.availability import Availability
from lab.api.aggregation.backends import Backends
from lab.api.aggregation.descriptions import Descriptions
from lab.api.aggregation.local import LocalServices
from lab.api.aggregation.proxy import AggregatingProxy
from lab.api.controllers.access import AccessController
from lab.api.controllers.definitions import RESOURCE as DEFINITIONS
from lab.api.controllers.definitions import DefinitionController
from lab.api.controllers.garbage import GarbageCollector
from lab.api.controllers.housekeeping import Housekeeping
from lab.api.controllers.namespaces import NamespaceController
from lab.api.controllers.nodes import NodeIpam, Scheduler
from lab.api.controllers.services import EndpointController, ServiceAddresses
from lab.api.custom.kind import CustomKind
from lab.api.groupevents import GroupEvents
from lab.api.journal import Entry, Journal
from lab.api.kinds import catalogue
from lab.api.pki import ClusterKeys
from lab.api.reactor import Reactor
from lab.api.reviews import Reviews
from lab.api.webhooks.admission import WebhookAdmission
from lab.api.webhooks.caller import Caller
from lab.api.webhooks.configurations import Configurations
from lab.api.webhooks.conversion import Conversions, ConvertedForms
from lab.api.webhooks.endpoint import ConvertedEndpoint
from runtime.tasks import Supervisor

VERSION = {
    "major": "1",
    "minor": "33",
    "gitVersion": "v1.33.4+antrea-lab",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def versions_after(highest: int) -> Versions:
    """A counter whose versions lie above everything that was ever given out, also if the clock went back."""
    epoch = max(int(time.time() * EPOCHS_PER_SECOND), (highest >> COUNTER_BITS) + 1)
    return Versions(epoch)


class Cluster:
    """Everything but sockets. ``restore`` or nothing, then ``furnish``, then serve ``server``."""

    def __init__(
        self,
        keys: ClusterKeys,
        cluster_cidrs: Sequence[Network],
        service_cidrs: Sequence[Network],
        highest_version: int = 0,
        scheduler: bool = True,
    ) -> None:
        self.keys = keys
        self.service_cidrs = list(service_cidrs)
        self.stores = Stores(versions_after(highest_version))
        self.registry = Registry(self.stores)
        self.reactor = Reactor()
        self.rbac = Rbac()
        self.signer = TokenSigner(keys.service_accounts)
        registry, reactor = self.registry, self.reactor
        AccessController(registry, reactor, self.rbac)
        GarbageCollector(registry, reactor)
        self._services = ServiceAddresses(registry, service_cidrs)
        Admission(registry, self.rbac)
        NamespaceController(registry, reactor, keys.authority.pem.decode())
        NodeIpam(registry, reactor, cluster_cidrs)
        if scheduler:
            Scheduler(registry, reactor)
        EndpointController(registry, reactor)
        self.housekeeping = Housekeeping(registry, reactor)
        admin = User("kubernetes-admin", (MASTERS,))
        reviewer = Reviewer(registry, self.signer, {keys.admin_token: admin})
        self.server = ApiServer(
            title="Kubernetes",
            version=VERSION,
            stores=self.stores,
            authenticators=[ClusterAuthenticator(reviewer, self.rbac)],
            authorizer=ClusterAuthorizer(self.rbac),
        )
        self._backends = Backends(registry, keys)
        caller = Caller(self._backends)
        self._conversions = Conversions(registry, caller)
        registry.reviewer = WebhookAdmission(Configurations(registry), caller, self._conversions.convert)
        DefinitionController(registry, reactor, self._serve_custom, self.server.unregister)
        for kind in catalogue.kinds():
            registry.add_kind(kind)
            self.server.register(self._endpoint(kind))
        self.server.register(GroupEvents(registry))
        for endpoint in Reviews(reviewer, self.rbac).endpoints():
            self.server.register(endpoint)

    def _endpoint(self, kind: Kind) -> DocumentEndpoint:
        registry = self.registry
        if kind.resource == "pods":
            pods = subresources.PodEndpoint(kind, registry, extra=subresources.POD)
            pods.subresources.update(subresources.pod_handlers(registry))
            return pods
        if kind.resource == "serviceaccounts":
            accounts = DocumentEndpoint(kind, registry, extra=subresources.SERVICE_ACCOUNT)
            accounts.subresources["token"] = subresources.token_handler(registry, self.signer)
            return accounts
        if kind.resource == "namespaces":
            namespaces = DocumentEndpoint(kind, registry, extra=subresources.NAMESPACE)
            namespaces.subresources["finalize"] = subresources.finalize_handler(registry)
            return namespaces
        return DocumentEndpoint(kind, registry)

    def _serve_custom(self, kind: CustomKind) -> None:
        endpoint = DocumentEndpoint(kind, self.registry)
        if kind.converted_from:
            forms = ConvertedForms(self._conversions, kind, kind.converted_from)
            endpoint = ConvertedEndpoint(kind, self.registry, forms)
        self.server.register(endpoint)

    # --- objects from before ---

    def restore(self, entries: Iterable[Entry]) -> None:
        """Takes over the objects of an earlier process under their old versions."""
        listed = sorted(entries, key=lambda entry: entry.resource != DEFINITIONS)
        custom = [e for e in listed if e.resource not in self.registry.kinds]
        for entry in listed:
            if entry.resource in self.registry.kinds:
                self._restore(entry)
        self.reactor.drain()  # definitions bring their kinds
        for entry in custom:
            if entry.resource in self.registry.kinds:
                self._restore(entry)
        self.reactor.drain()

    def _restore(self, entry: Entry) -> None:
        self.registry.restore(entry.resource, entry.document, entry.version)

    def entries(self) -> list[Entry]:
        """The present state, for the journal."""
        return [
            Entry(resource, stored.version, stored.record.document)  # type: ignore[attr-defined]
            for resource in self.registry.kinds
            for _, stored in self.stores.items(resource)
        ]

    def follow(self, journal: Journal) -> None:
        """Records every change from now on."""

        def record(resource: str, namespace: str, name: str, document: Object | None, version: int) -> None:
            if journal.wants_compaction:
                journal.compact(self.entries())  # before the change, which the new journal then has
            journal.record(resource, namespace, name, document, version)

        self.registry.journal = record
        self.server.health.add("journal", lambda: journal.problem or None, live=False)

    # --- what a cluster has from the start ---

    def furnish(self) -> None:
        """Creates what is missing of namespaces, roles, and the API's own objects."""
        for name in NAMESPACES:
            self.ensure({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self.reactor.drain()
        for obj in bootstrap.objects():
            self.ensure(obj)
        self.ensure(self._authentication_config())
        if self.service_cidrs:
            self.ensure(self._api_service())
        self.reactor.drain()

    def aggregate(self, supervisor: Supervisor) -> None:
        """Passes on what APIServices give to other servers. Needs a running loop."""
        backends = self._backends
        LocalServices(self.registry, self.reactor, self.server)
        availability = Availability(self.registry, self.reactor, backends, supervisor)
        self.server.fallback = AggregatingProxy(backends, availability).serve
        self.server.discovery.external = availability.discovery
        self.server.discovery.rank = availability.rank
        self.server.openapi.external = Descriptions(self.registry, backends, availability).entries
        supervisor.on_close("aggregation", backends.close)
        self.reactor.drain()

    def ensure(self, document: Object) -> None:
        """Creates the object unless one of its name is there."""
        kind = self.registry.kind_of(document["apiVersion"], document["kind"])
        assert kind is not None
        metadata = document["metadata"]
        if self.registry.get(kind.resource, metadata.get("namespace", ""), metadata["name"]) is None:
            body = {key: value for key, value in document.items() if key not in ("apiVersion", "kind")}
            self.registry.create(kind, body)

    def _authentication_config(self) -> Object:
        """How aggregated servers recognize the API and its users."""
        data = {
            "client-ca-file": self.keys.authority.pem.decode(),
            "requestheader-client-ca-file": self.keys.front_proxy.pem.decode(),
            "requestheader-allowed-names": '["front-proxy-client"]',
            "requestheader-username-headers": '["X-Remote-User"]',
            "requestheader-uid-headers": '["X-Remote-Uid"]',
            "requestheader-group-headers": '["X-Remote-Group"]',
            "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
        }
        metadata = {"name": "extension-apiserver-authentication", "namespace": "kube-system"}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}

    def _api_service(self) -> Object:
        labels = {"component": "apiserver", "provider": "kubernetes"}
        ports = [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]
        address = str(self.service_cidrs[0][1])
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
            "spec": {"clusterIP": address, "clusterIPs": [address], "ports": ports, "type": "ClusterIP"},
        }
