"""antrea-controller: Kubernetes' objects in, computed policies out to the agents. This file joins the parts.

reflectors ──▶ inputs ──▶ pump: computation ──▶ stores ──▶ API server ──▶ agents, kubectl, antctl
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence

from apis.record import Change
from apiserver.agentwatch import AgentWatch
from apiserver.health import Remark
from apiserver.listener import Limits, Listener
from apiserver.server import ApiServer
from client import kubernetes_asyncio_light
from client.rest import RestClient
from computation.graph import Graph
from controller import config, kubernetes
from controller.admission import registration
from controller.admission.registration import Circumstances
from controller.agent_infos import AgentInfos
from controller.api import groups, paths, policies, stats, system
from controller.api.bundles import SupportBundles
from controller.authentication import Access
from controller.built_in_tiers import BuiltInTiers
from controller.certificates import Certificates
from controller.config import Environment, Settings
from controller.info import ControllerInfo, InfoWriter
from controller.inputs import Queue
from controller.markers import Markers
from controller.publication import Publisher
from controller.pump import Pump
from controller.realization import Realization
from runtime import command, log, version
from runtime.tasks import OnCrash, Supervisor

logger = log.get("controller")

ALWAYS_ALLOWED = ("/healthz", "/livez", "/readyz")


async def serve(supervisor: Supervisor, settings: Settings) -> None:
    """Build everything, start it, return; the supervisor keeps it running."""
    value, environment = settings.config, Environment.read()
    endpoint = await kubernetes_asyncio_light.load(
        value.client_connection.kubeconfig or None, server=value.kube_api_server_override or None
    )
    client = RestClient(endpoint, user_agent=f"antrea-controller/{version.FULL}")
    supervisor.on_close("the connections to the Kubernetes API", client.close)

    # What is computed.
    queue = Queue()
    graph = Graph(warn=lambda sentence: logger.warning("%s", sentence))
    statistics = stats.PolicyStatistics()
    agent_infos = AgentInfos(client)
    sources = kubernetes.inputs(queue)

    # What is served.
    certificates = Certificates(client, environment.namespace, value.run_dir, value.self_signed)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, certificates.rotate)
    tls = await certificates.start()
    settings.apply_tls(tls.context)
    access = Access(client, value.run_dir, value.client_ca_file, tls.trust_clients)
    server = ApiServer(
        title="Antrea",
        version=version.document(),
        authenticators=access.authenticators,
        always_allow=ALWAYS_ALLOWED,
    )
    stores = server.stores
    realization = Realization()

    def publish(changes: list[Change]) -> None:
        stores.publish(changes)
        realization.published(changes)

    markers = Markers(stores.mark, sources["pods"].knows)
    pump = Pump(
        graph,
        queue,
        sources,
        kubernetes.applications(graph, statistics, agent_infos),
        publish,
        markers.settled,
        stores.batch,
    )
    server.authorizer = access.authorizer(pump.synced.is_set)

    def agents() -> int:
        return len({watcher.selection.node for watcher in stores.all_watchers()} - {""})

    gates = paths.FeatureGatesPath(client, environment.namespace, settings.gates)
    info = ControllerInfo(stores, environment, value.api_port, agents, lambda: publisher.missing)
    bundles = SupportBundles(stores, info)
    supervisor.on_close("the support bundle", bundles.close)
    for registered in (
        *policies.endpoints(stores, realization),
        *stats.endpoints(statistics),
        *groups.endpoints(),
        *system.endpoints(info, gates, bundles),
        *stats.stats_endpoints(statistics),
    ):
        server.register(registered)
    agent_watch = AgentWatch(stores, policies.AGENT_STORES, markers.known)
    server.path("/agentwatch", agent_watch.serve, long_running=True)
    server.path("/featuregates", gates.serve)
    paths.register_common(server, with_metrics=value.metrics)
    known = registration.register(
        server, Circumstances(settings.gates, client, environment.account, environment.namespace)
    )
    server.health.add(
        "informer-sync",
        lambda: None if pump.synced.is_set() else "the first state is not computed yet",
        live=False,
    )
    tiers = BuiltInTiers(client)
    if settings.gates.enabled("AntreaPolicy"):
        server.health.add("poststarthook/initialize-tiers", tiers.problem)
    server.health.add(
        "shutdown", lambda: "the process is ending" if supervisor.stopping else None, live=False
    )

    api_services = [f"{number}.{group}" for group, number in server.registry.group_versions()]
    publisher = Publisher(client, environment.namespace, api_services)
    publisher.current, certificates.publish = certificates.fresh_bundle, publisher.publish
    server.health.add("apiservices", lambda: Remark(publisher.missing), live=False)

    # From here on things run.
    limits = Limits(connections=value.max_connections, connections_per_peer=value.max_connections_per_address)
    listener = Listener(server, limits)
    supervisor.on_close("the API server", listener.close)
    address = await listener.listen(value.api_address or None, value.api_port, tls=tls.context)
    access.write_token()
    logger.info("Serving on %s port %d", address[0], value.api_port)
    supervisor.start("pump", pump.run, OnCrash.END)
    for name, reflector in kubernetes.reflectors(client, sources).items():
        supervisor.start(f"follow-{name}", reflector.run)
    for name, reflector in known.reflectors(client).items():
        supervisor.start(f"follow-{name}-for-admission", reflector.run)
    supervisor.start("front-proxies", access.run)
    certificates.look_after(supervisor)
    publisher.start(supervisor)
    supervisor.start("controller-info", InfoWriter(client, info).run)
    supervisor.start("agent-infos", lambda: agent_infos.run(pump.synced))
    if settings.gates.enabled("AntreaPolicy"):
        supervisor.start("built-in-tiers", tiers.run)


def _settings(path: str) -> Settings:
    settings = config.load(path)
    kubernetes_asyncio_light.modules()  # 50 ms that the event loop must not be held for
    return settings


_command = command.daemon(
    "antrea-controller",
    "The central controller of Antrea: computes what every node has to enforce and serves it.",
    _settings,
    serve,
)


def main(arguments: Sequence[str] | None = None) -> None:
    command.run(_command, arguments)


if __name__ == "__main__":
    main()
