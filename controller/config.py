"""antrea-controller.conf: upstream's keys, and a few of our own for processes that share a file system."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass

import msgspec

from apiserver.listener import Limits
from runtime import config, tls
from runtime.config import Inert, Section
from runtime.features import FeatureGates
from runtime.settings import DaemonConfig, check_address, notes

DEFAULT_PATH = "/etc/antrea/antrea-controller.conf"

# What this controller does when the gate is on. The other gates are known and without effect so far.
IMPLEMENTED_GATES = ("AntreaPolicy", "NetworkPolicyStats")
# With these on, objects are admitted, checked and converted; what is to follow from them does not yet.
ADMITTING_GATES = (
    "AntreaIPAM", "ClusterNetworkPolicy", "Egress", "L7NetworkPolicy", "ServiceExternalIP",
    "SupportBundleCollection", "Traceflow",
)  # fmt: skip


class ClientConnection(Section):
    kubeconfig: str = ""
    qps: Inert[float] = 50.0
    burst: Inert[int] = 100
    accept_content_types: Inert[str] = ""
    content_type: Inert[str] = ""


class NodeIPAM(Section):
    enable_node_ipam: bool = msgspec.field(name="enableNodeIPAM", default=False)
    cluster_cidrs: list[str] = msgspec.field(name="clusterCIDRs", default_factory=list)
    service_cidr: str = msgspec.field(name="serviceCIDR", default="")
    service_cidr_v6: str = msgspec.field(name="serviceCIDRv6", default="")
    node_cidr_mask_size_ipv4: int = msgspec.field(name="nodeCIDRMaskSizeIPv4", default=24)
    node_cidr_mask_size_ipv6: int = msgspec.field(name="nodeCIDRMaskSizeIPv6", default=64)


class IPsecCSRSigner(Section):
    auto_approve: bool | None = None
    self_signed_ca: bool | None = msgspec.field(name="selfSignedCA", default=None)


class Multicluster(Section):
    enable_stretched_network_policy: bool = False
    namespace: str = ""


class ControllerConfig(DaemonConfig):
    """The file's contents. The last block is antrea-py's own."""

    client_connection: ClientConnection = msgspec.field(default_factory=ClientConnection)
    api_port: int = 10349
    self_signed_cert: bool | None = None
    tls_cipher_suites: str = ""
    tls_min_version: str = ""
    client_ca_file: str = msgspec.field(name="clientCAFile", default="")
    node_ipam: Inert[NodeIPAM] = msgspec.field(name="nodeIPAM", default_factory=NodeIPAM)
    ipsec_csr_signer: Inert[IPsecCSRSigner] = msgspec.field(
        name="ipsecCSRSigner", default_factory=IPsecCSRSigner
    )
    multicluster: Inert[Multicluster] = msgspec.field(default_factory=Multicluster)

    api_address: str = ""  # the address to listen on; empty: every IPv4 and IPv6 address
    run_dir: str = "/var/run/antrea"  # certificates and the loopback token are written below it
    max_connections: int = Limits().connections
    max_connections_per_address: int = Limits().connections_per_peer  # kubectl's all have an API server's

    @property
    def self_signed(self) -> bool:
        return self.self_signed_cert is not False


@dataclass(frozen=True, slots=True)
class Environment:
    """What a Pod's environment says of the controller itself."""

    namespace: str
    pod: str
    node: str
    service_account: str = "antrea-controller"

    @property
    def account(self) -> str:
        """The user that the Kubernetes API knows the controller as."""
        return f"system:serviceaccount:{self.namespace}:{self.service_account}"

    @classmethod
    def read(cls) -> Environment:
        return cls(
            os.environ.get("POD_NAMESPACE", "") or "kube-system",
            os.environ.get("POD_NAME", ""),
            os.environ.get("NODE_NAME", ""),
            os.environ.get("SERVICEACCOUNT_NAME", "") or "antrea-controller",
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration that has been checked, with the sentences to be logged once."""

    config: ControllerConfig
    gates: FeatureGates
    notes: tuple[str, ...]
    source: str
    minimum_tls: ssl.TLSVersion | None = None
    cipher_suites: tuple[str, ...] = ()

    def apply_tls(self, context: ssl.SSLContext) -> None:
        tls.apply(context, self.minimum_tls, self.cipher_suites)


def load(path: str) -> Settings:
    """Read and check the file; an empty path means the defaults. Raises ConfigurationError."""
    if not path:
        return Settings(ControllerConfig(), FeatureGates("C"), (), "the defaults")
    loaded = config.load(path, ControllerConfig)
    return check(loaded, path)


def check(loaded: config.Loaded[ControllerConfig], source: str) -> Settings:
    value = loaded.value
    config.check(1 <= value.api_port <= 65535, "apiPort", source, value.api_port, "a port is 1 to 65535")
    for key, count in (
        ("maxConnections", value.max_connections),
        ("maxConnectionsPerAddress", value.max_connections_per_address),
    ):
        config.check(count >= 1, key, source, count, "without connections nobody is served")
    if value.api_address:
        check_address(value.api_address, "apiAddress", source)
    gates = FeatureGates("C", value.feature_gates, source)
    return Settings(
        value,
        gates,
        (
            *notes(loaded, gates, (*IMPLEMENTED_GATES, *ADMITTING_GATES), source, "antrea-controller"),
            *_admitting(gates, source),
        ),
        source,
        tls.minimum_version(value.tls_min_version, source),
        tuple(tls.cipher_suites(value.tls_cipher_suites, source)),
    )


def _admitting(gates: FeatureGates, source: str) -> list[str]:
    """The sentence about gates whose objects are accepted although nothing follows from them yet."""
    named = [name for name in gates.without_effect(()) if name in ADMITTING_GATES and gates.enabled(name)]
    if not named:
        return []
    return [
        f"{source} sets feature gates of which antrea-controller only admits the objects so far, and does "
        f"nothing else with them: {', '.join(named)}."
    ]
