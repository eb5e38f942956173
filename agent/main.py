"""antrea-agent: policies and pods of one node, in Open vSwitch. This file joins the parts.

    Node object ─▶ bridge, gateway, tunnel ─▶ flows of the node
    controller ──▶ policies ───────────────▶ flows of the rules ──▶ one difference ──▶ OVS
    CNI, OVSDB ──▶ pod interfaces ─────────▶ flows of the pods
    Node objects ▶ peers ──────────────────▶ flows and routes to the peers

A restart finds what was known on the disk and in OVSDB, makes the flows that follow from it, and sends only
what differs: nothing, if nothing has changed. Neither the Kubernetes API nor the controller has to be there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from agent import config, figures
from agent.cni.attach import PodAttacher
from agent.cni.ipam import HostLocalIPAM
from agent.cni.pods import LocalPod, list_local_pods
from agent.cni.server import CNIServer
from agent.config import Settings
from agent.connection import ControllerConnection, FixedController, Locator
from agent.facts import OVSVersion, port_uuid, transport_info
from agent.info import AgentInfo, InfoWriter, Sources
from agent.interfaces import InterfaceStore
from agent.knowncontroller import KnownController
from agent.knownnode import own_node
from agent.localapi.ovsflows import OVSFlows
from agent.localapi.paths import LocalPaths
from agent.localapi.server import LocalServer
from agent.model import NodeConfig
from agent.nodes.controller import NodeController
from agent.nodes.neighbors import NeighborKeeper
from agent.nodes.netlink import Netlink
from agent.nodes.objects import NodeFacts
from agent.nodes.prepare import NodeSettings, prepare_node
from agent.ovs.bridge import OVSBridge
from agent.ovs.database import Database, DatabaseError
from agent.pipeline.client import ConjunctionIds, FlowProgrammer, Moment, PodConnectivity, PolicyFlows
from agent.pipeline.cookies import ROUND_FILE, leave_round
from agent.policies.controller import PolicyController
from client import kubeconfig
from client.controller import ControllerLocator
from client.reflector import Reflector
from client.resources import NODES
from client.rest import RestClient
from runtime import command, log, version
from runtime.backoff import Backoff
from runtime.tasks import OnCrash, Supervisor

logger = log.get("agent")

PODS_PATIENCE = 5.0  # seconds for the Kubernetes API to list this node's pods
PRUNE_PATIENCE = 60.0  # seconds to wait for the peers before what nobody wants is removed all the same


async def serve(supervisor: Supervisor, settings: Settings) -> None:
    """Build everything, start it, return; the supervisor keeps it running."""
    value, run_dir = settings.config, settings.run_dir
    run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)

    # The Kubernetes API, and what it (or the disk) says of this node.
    endpoint = await kubeconfig.load(
        value.client_connection.kubeconfig or None, server=value.kube_api_server_override or None
    )
    kube = RestClient(endpoint, user_agent=f"antrea-agent/{version.FULL}")
    supervisor.on_close("the connections to the Kubernetes API", kube.close)
    locator: Locator = ControllerLocator(
        kube,
        endpoint.headers,
        namespace=settings.namespace,
        override=value.controller_address,
        memory=KnownController(run_dir / "controller.json", settings.namespace),
    )
    if value.antrea_client_connection.kubeconfig:
        locator = FixedController(await kubeconfig.load(value.antrea_client_connection.kubeconfig))
    connection = ControllerConnection(locator)
    supervisor.on_close("the connections to antrea-controller", connection.close)
    facts = await own_node(kube, settings.node_name, run_dir)

    # Open vSwitch, and the node's place in it.
    database = Database(value.ovs_run_dir)
    supervisor.on_close("the connection to OVSDB", database.close)
    await database.connect()
    bridge = OVSBridge(database, value.ovs_bridge, datapath_type=value.ovs_datapath_type)
    netlink = Netlink()
    node = await prepare(settings, facts, bridge, netlink)
    ovs_version = OVSVersion(database)
    await ovs_version.ask()

    # Who wants flows, and who brings them into the switch.
    ids = ConjunctionIds(run_dir / "conjunction-ids")
    if not ids.trusted:
        leave_round(run_dir / ROUND_FILE)
    programmer = FlowProgrammer(
        bridge.management_socket,
        node,
        run_dir,
        unixctl=value.ovs_run_dir,
        last_round=bridge.round_number,
    )
    await bridge.remember_round(programmer.round)
    supervisor.on_close("the OpenFlow connection", programmer.stop)
    connectivity = PodConnectivity(programmer, node)
    connectivity.install_static()
    policy_flows = PolicyFlows(programmer, node, ids)
    policy_flows.install_static()

    # Pods, policies, peers.
    interfaces = InterfaceStore()
    policies = PolicyController(
        node=node.name,
        directory=run_dir / "networkpolicy",
        connect=connection.connect,
        reuse=connection.current,
        avoid=connection.failed,
        flows=policy_flows,
        commit=programmer.commit,
        interfaces=interfaces,
        families=frozenset(cidr.version for cidr in node.pod_cidrs),
        refused=lambda rule: programmer.failures(f"rule/{rule}"),
    )
    attacher = PodAttacher(
        node=node,
        bridge=bridge,
        interfaces=interfaces,
        ipam=HostLocalIPAM(Path(value.cni_data_dir) / "antrea", node.pod_cidrs),
        netlink=netlink,
        connectivity=connectivity,
        programmer=programmer,
        readiness=policies.readiness,
        policy_wait_timeout=value.policy_wait_timeout,
        disable_tx_checksum_offload=value.disable_tx_checksum_offload,
    )
    cni = CNIServer(settings.cni_socket, attacher, interfaces, netns_prefix=value.host_proc_path_prefix)
    neighbors = NeighborKeeper(value.ovs_run_dir, netlink) if node.userspace_datapath else None
    nodes = NodeController(node, connectivity, programmer, netlink, neighbors)
    reflector = Reflector(kube, NODES.path(), nodes)

    # The API for antctl, kubelet's probes and Prometheus.
    local = LocalServer(kube, settings.token_file, settings.apply_tls)
    info = AgentInfo(
        Sources(
            node=node,
            pod_name=settings.pod_name,
            namespace=settings.namespace,
            bridge=value.ovs_bridge,
            api_port=value.api_port,
            interfaces=interfaces,
            policies=policies,
            ovs_version=ovs_version,
            transport=await netlink.run(lambda ipr: transport_info(ipr, node.transport_ips)),
            flow_counts=programmer.table_counts,
            openflow_connected=lambda: programmer.connected,
        )
    )
    LocalPaths(info, interfaces, lambda name: port_uuid(database, name), policies, settings.gates).register(
        local.api, with_metrics=value.metrics
    )
    OVSFlows(
        value.ovs_bridge,
        bridge.management_socket,
        programmer,
        interfaces,
        policies,
        lambda: {port.name: port.ofport for port in bridge.ports()},
    ).register(local.api)
    local.api.health.add(
        "ovs", lambda: None if programmer.connected else "no OpenFlow connection", ready=False
    )
    local.api.health.add(
        "watcher", lambda: None if policies.connected else "the controller is not connected", live=False
    )
    figures.register(figures.AgentCollector(interfaces, policies, programmer))
    supervisor.on_close("the local API", local.close)
    await local.listen(value.api_address or None, value.api_port)

    # What is known from before becomes flows that are wanted; the switch is not touched yet.
    await cni.restore(await local_pods(kube, node.name))
    await policies.restore()
    supervisor.on_close("the CNI server", cni.stop)
    await cni.start()
    policies.start(supervisor)
    await policies.wait_for_state()

    # Now the switch: only the difference, and nothing is removed until the peers are known as well.
    await programmer.start(timeout=None)
    result = await programmer.synchronize(keep_unclaimed=True)
    logger.info("The switch has been synchronized: %s", result)
    await bridge.clear_flow_restore_wait()

    async def vswitchd_is_back() -> None:
        nodes.datapath_restarted()
        await bridge.clear_flow_restore_wait()
        await ovs_version.ask()

    programmer.restoration.on(
        Moment.AFTER_FLOWS, "the peers and the end of flow-restore-wait", vswitchd_is_back
    )
    policies.start_reconciling(supervisor)
    supervisor.start("peers-watch", reflector.run)
    supervisor.start("peers", nodes.run)
    supervisor.start("prune", lambda: prune(nodes, policies, ids, programmer, cni), OnCrash.REPORT)
    supervisor.start("agent-info", InfoWriter(kube, info, node.name, lambda: local.certificate).run)
    cni.ready.set()
    logger.info("antrea-agent of node %s is ready", node.name)


async def prepare(settings: Settings, facts: NodeFacts, bridge: OVSBridge, netlink: Netlink) -> NodeConfig:
    """Make bridge, tunnel and gateway; try again for as long as Open vSwitch is not ready for it."""
    value = settings.config
    wanted = NodeSettings(
        ovs_run_dir=bridge.database.run_dir,
        bridge=value.ovs_bridge,
        datapath_type=value.ovs_datapath_type,
        host_gateway=value.host_gateway,
        tunnel=value.tunnel_name,
        tunnel_type=value.tunnel_type,
        tunnel_port=value.tunnel_port,
        tunnel_csum=value.tunnel_csum,
        default_mtu=value.default_mtu,
        encap_mode=value.traffic_encap_mode,
        transport_interface=value.transport_interface,
    )
    backoff = Backoff(initial=0.2, maximum=5.0)
    while True:
        try:
            return await prepare_node(wanted, facts, bridge, netlink)
        except (DatabaseError, OSError, LookupError, TimeoutError) as error:
            delay = backoff.next()
            logger.warning("The node cannot be prepared yet, again in %.1f s: %s", delay, error)
            await asyncio.sleep(delay)


async def local_pods(kube: RestClient, node: str) -> list[LocalPod] | None:
    """The pods of this node; None where the API does not say, or not soon: a restart does not wait for it."""
    try:
        return await asyncio.wait_for(list_local_pods(kube, node), PODS_PATIENCE)
    except TimeoutError:
        logger.warning("The Kubernetes API does not answer: all pods that are attached stay")
        return None


async def prune(
    nodes: NodeController,
    policies: PolicyController,
    ids: ConjunctionIds,
    programmer: FlowProgrammer,
    cni: CNIServer,
) -> None:
    """Remove what an earlier agent left and nobody wants, once everybody has had a chance to want it.

    Without the Kubernetes API the peers stay unknown, and their flows stay: fail static.
    """
    try:
        await asyncio.wait_for(nodes.synced.wait(), PRUNE_PATIENCE)
    except TimeoutError:
        logger.warning(
            "The peers are not known yet: what earlier agents left in the switch stays until they are"
        )
        await nodes.synced.wait()
    if not policies.disk.has_state:
        await policies.synced.wait()  # nobody here knows what the rules in the switch are good for
    ids.retain({rule.id for rule in policies.reconciler.installed})
    result = await programmer.prune()
    if result.total:
        logger.info("Nobody wants them any more: %d flows were removed", result.deleted)
    await cni.discard_stale()  # only now may others have the port numbers of pods that are gone


_command = command.daemon(
    "antrea-agent",
    "The agent of Antrea on a node: attaches pods and enforces network policies in Open vSwitch.",
    config.load,
    serve,
)


def main(arguments: Sequence[str] | None = None) -> None:
    command.run(_command, arguments)


if __name__ == "__main__":
    main()
