"""antrea-agent.conf: upstream's keys, and a few of our own for agents that share a file system.

This is the only place that knows them. Every key of Antrea v1.15 to v2.7 is known; one without effect here
is marked ``Inert``: its type is checked, and it is named once at start.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import field

from runtime import config, tls
from runtime.config import Inert, Section, check
from runtime.features import FeatureGates
from runtime.settings import DaemonConfig, check_address, notes

DEFAULT_PATH = "/etc/antrea/antrea-agent.conf"

# What this agent does when the gate is on. The other gates are known and without effect so far.
IMPLEMENTED_GATES: tuple[str, ...] = ()

TUNNEL_TYPES = ("geneve", "vxlan", "gre", "stt")
DATAPATHS = ("system", "netdev")


class ClientConnection(Section):
    kubeconfig: str = ""
    accept_content_types: Inert[str] = ""
    content_type: Inert[str] = ""
    qps: Inert[float] = 0
    burst: Inert[int] = 0


class WireGuard(Section):
    port: int = 51820


class Memberlist(Section):
    gossip_verify_outgoing: bool | None = None
    gossip_verify_incoming: bool | None = None


class FlowExporter(Section):
    enable: bool = False
    flow_collector_addr: str = ""
    flow_poll_interval: str = ""
    active_flow_export_timeout: str = ""
    idle_flow_export_timeout: str = ""
    protocol_filter: list[str] | None = None


class NodePortLocal(Section):
    enable: bool = False
    port_range: str = ""


class Multicast(Section):
    enable: bool = False
    multicast_interfaces: list[str] = []
    igmp_query_versions: list[int] = []
    igmp_query_interval: str = ""


class AntreaProxy(Section):
    enable: bool | None = None
    proxy_all: bool = False
    node_port_addresses: list[str] = []
    skip_services: list[str] = []
    proxy_load_balancer_ips: bool | None = field(name="proxyLoadBalancerIPs", default=None)
    service_proxy_name: str = ""
    default_load_balancer_mode: str = ""
    disable_service_health_check_server: bool = False
    service_health_check_server_bind_address: str = ""


class Egress(Section):
    except_cidrs: list[str] = field(name="exceptCIDRs", default_factory=list)
    max_egress_ips_per_node: int = field(name="maxEgressIPsPerNode", default=255)
    snat_fully_random_ports: bool | None = None
    unique_mac_for_sub_interfaces: bool | None = field(name="uniqueMACForSubInterfaces", default=None)


class IPsec(Section):
    authentication_mode: str = "psk"


class Multicluster(Section):
    enable: bool = False
    enable_gateway: bool = False
    namespace: str = ""
    enable_stretched_network_policy: bool = False
    enable_pod_to_pod_connectivity: bool = False
    traffic_encryption_mode: str = ""
    wire_guard: WireGuard = field(default_factory=WireGuard)


class ExternalNode(Section):
    external_node_namespace: str = ""
    policy_bypass_rules: list[dict[str, Any]] = []


class AuditLogging(Section):
    max_size: int = 500
    max_backups: int = 3
    max_age: int = 28
    compress: bool = True


class SecondaryNetwork(Section):
    ovs_bridges: list[dict[str, Any]] = field(name="ovsBridges", default_factory=list)


class HostNetworkAcceleration(Section):
    enable: bool | None = None


class AgentConfig(DaemonConfig):
    """The file's contents. The last block is antrea-py's own."""

    client_connection: ClientConnection = field(default_factory=ClientConnection)
    antrea_client_connection: ClientConnection = field(default_factory=ClientConnection)
    cni_socket: str = ""
    ovs_bridge: str = "br-int"
    ovs_datapath_type: str = "system"
    ovs_run_dir: str = "/var/run/openvswitch"
    host_gateway: str = "antrea-gw0"
    traffic_encap_mode: str = "encap"
    tunnel_type: str = "geneve"
    tunnel_port: int = 0
    tunnel_csum: bool = False
    default_mtu: int = field(name="defaultMTU", default=0)
    host_proc_path_prefix: str = "/host"
    disable_tx_checksum_offload: bool = field(name="disableTXChecksumOffload", default=False)
    api_port: int = 10350
    tls_cipher_suites: str = ""
    tls_min_version: str = ""
    transport_interface: str = ""

    pod_cidrs: Inert[str] = field(name="podCIDRs", default="")
    no_snat: Inert[bool] = field(name="noSNAT", default=False)
    snat_fully_random_ports: Inert[bool] = False
    service_cidr: Inert[str] = field(name="serviceCIDR", default="")
    service_cidr_v6: Inert[str] = field(name="serviceCIDRv6", default="")
    traffic_encryption_mode: str = "none"
    wire_guard: Inert[WireGuard] = field(default_factory=WireGuard)
    enable_bridging_mode: Inert[bool] = False
    cluster_port: Inert[int] = 10351
    memberlist: Inert[Memberlist] = field(default_factory=Memberlist)
    flow_exporter: Inert[FlowExporter] = field(default_factory=FlowExporter)
    flow_collector_addr: Inert[str] = ""
    flow_poll_interval: Inert[str] = ""
    active_flow_export_timeout: Inert[str] = ""
    idle_flow_export_timeout: Inert[str] = ""
    node_port_local: Inert[NodePortLocal] = field(default_factory=NodePortLocal)
    dns_server_override: Inert[str] = ""
    fqdn_cache_min_ttl: Inert[int] = field(name="fqdnCacheMinTTL", default=0)
    transport_interface_cidrs: Inert[list[str]] = field(name="transportInterfaceCIDRs", default_factory=list)
    multicast: Inert[Multicast] = field(default_factory=Multicast)
    multicast_interfaces: Inert[list[str]] = []
    antrea_proxy: Inert[AntreaProxy] = field(default_factory=AntreaProxy)
    egress: Inert[Egress] = field(default_factory=Egress)
    ipsec: Inert[IPsec] = field(default_factory=IPsec)
    multicluster: Inert[Multicluster] = field(default_factory=Multicluster)
    node_type: str = "k8sNode"
    external_node: Inert[ExternalNode] = field(default_factory=ExternalNode)
    audit_logging: Inert[AuditLogging] = field(default_factory=AuditLogging)
    secondary_network: Inert[SecondaryNetwork] = field(default_factory=SecondaryNetwork)
    packet_in_rate: Inert[int] = 5000
    host_network_acceleration: Inert[HostNetworkAcceleration] = field(default_factory=HostNetworkAcceleration)
    host_network_mode: Inert[str] = ""

    # antrea-py's own
    node_name: str = (
        ""  # the Node that this agent is; default: NODE_NAME in the environment, then the host's name
    )
    run_dir: str = (
        "/var/run/antrea"  # policies, ids, IPAM results, tokens and, unless cniSocket says else, the socket
    )
    cni_data_dir: str = "/var/lib/cni/networks"  # the address store of host-local, one folder per network
    api_address: str = ""  # where the local API listens; empty: every IPv4 and IPv6 address
    controller_address: str = (
        ""  # host:port of antrea-controller; default: the endpoints of the Service antrea
    )
    antrea_namespace: str = ""  # where antrea-controller lives; default: POD_NAMESPACE, then kube-system
    tunnel_name: str = "antrea-tun0"
    policy_wait_timeout: float = 5.0  # seconds that CNI ADD waits for a pod's policies


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration that has been checked, and what follows from it and from the environment."""

    config: AgentConfig
    gates: FeatureGates
    notes: tuple[str, ...]  # sentences to be logged once
    source: str
    node_name: str
    pod_name: str
    namespace: str  # of antrea-controller
    minimum_tls: ssl.TLSVersion | None = None
    cipher_suites: tuple[str, ...] = ()

    def apply_tls(self, context: ssl.SSLContext) -> None:
        """What the local API demands of its clients."""
        tls.apply(context, self.minimum_tls, self.cipher_suites)

    @property
    def run_dir(self) -> Path:
        return Path(self.config.run_dir)

    @property
    def cni_socket(self) -> Path:
        return Path(self.config.cni_socket) if self.config.cni_socket else self.run_dir / "cni.sock"

    @property
    def token_file(self) -> Path:
        """The credentials of antctl in agent mode (Antrea: apiserver/loopback-client-token)."""
        return self.run_dir / "apiserver" / "loopback-client-token"


def load(path: str) -> Settings:
    """Read and check the file; an empty path means the defaults. Raises ConfigurationError."""
    if not path:
        return checked(config.Loaded(AgentConfig(), []), "the defaults")
    return checked(config.load(path, AgentConfig), path)


def checked(loaded: config.Loaded[AgentConfig], source: str) -> Settings:
    value = loaded.value
    check(1 <= value.api_port <= 65535, "apiPort", source, value.api_port, "a port is 1 to 65535")
    check(0 <= value.tunnel_port <= 65535, "tunnelPort", source, value.tunnel_port, "a port is 0 to 65535")
    check(
        value.default_mtu == 0 or 576 <= value.default_mtu <= 65535,
        "defaultMTU",
        source,
        value.default_mtu,
        "write 0 (derived from the transport device) or 576 to 65535",
    )
    check(
        value.tunnel_type in TUNNEL_TYPES,
        "tunnelType",
        source,
        value.tunnel_type,
        f"write one of {', '.join(TUNNEL_TYPES)}",
    )
    check(
        value.ovs_datapath_type in DATAPATHS,
        "ovsDatapathType",
        source,
        value.ovs_datapath_type,
        "write system (the kernel's datapath) or netdev (userspace)",
    )
    check(
        value.traffic_encap_mode.lower() == "encap",
        "trafficEncapMode",
        source,
        value.traffic_encap_mode,
        "only encap is supported so far",
    )
    check(
        value.traffic_encryption_mode.lower() == "none",
        "trafficEncryptionMode",
        source,
        value.traffic_encryption_mode,
        "traffic between nodes cannot be encrypted yet; write none",
    )
    check(
        value.node_type == "k8sNode", "nodeType", source, value.node_type, "only k8sNode is supported so far"
    )
    check(
        value.policy_wait_timeout > 0,
        "policyWaitTimeout",
        source,
        value.policy_wait_timeout,
        "write a number of seconds above 0",
    )
    if value.api_address:
        check_address(value.api_address, "apiAddress", source)
    gates = FeatureGates("A", value.feature_gates, source)
    return Settings(
        config=value,
        gates=gates,
        notes=notes(loaded, gates, IMPLEMENTED_GATES, source, "antrea-agent"),
        source=source,
        node_name=value.node_name or os.environ.get("NODE_NAME", "") or os.uname().nodename.lower(),
        pod_name=os.environ.get("POD_NAME", ""),
        namespace=value.antrea_namespace or os.environ.get("POD_NAMESPACE", "") or "kube-system",
        minimum_tls=tls.minimum_version(value.tls_min_version, source),
        cipher_suites=tuple(tls.cipher_suites(value.tls_cipher_suites, source)),
    )
