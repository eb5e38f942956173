"""antrea-agent.conf: upstream's keys are known, mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import config
from runtime.errors import ConfigurationError

# Every key of upstream's antrea-agent.conf (Antrea v2.7), with a value of the right type.
UPSTREAM = """
featureGates: {AntreaPolicy: true, Egress: false}
cniSocket: /var/run/antrea/cni.sock
clientConnection: {kubeconfig: /k, acceptContentTypes: a, contentType: b, qps: 5, burst: 10}
antreaClientConnection: {kubeconfig: ""}
ovsBridge: br-int
ovsDatapathType: system
ovsRunDir: /var/run/openvswitch
hostGateway: antrea-gw0
trafficEncapMode: encap
podCIDRs: ""
noSNAT: false
snatFullyRandomPorts: false
tunnelType: geneve
tunnelPort: 0
tunnelCsum: false
defaultMTU: 0
hostProcPathPrefix: /host
serviceCIDR: 10.96.0.0/12
serviceCIDRv6: ""
trafficEncryptionMode: none
wireGuard: {port: 51820}
enableBridgingMode: false
disableTXChecksumOffload: false
apiPort: 10350
clusterPort: 10351
memberlist: {gossipVerifyOutgoing: true, gossipVerifyIncoming: true}
enablePrometheusMetrics: true
flowExporter: {enable: false, flowCollectorAddr: a, flowPollInterval: 5s, activeFlowExportTimeout: 5s,
               idleFlowExportTimeout: 15s, protocolFilter: [tcp]}
flowCollectorAddr: ""
flowPollInterval: ""
activeFlowExportTimeout: ""
idleFlowExportTimeout: ""
nodePortLocal: {enable: false, portRange: 61000-62000}
kubeAPIServerOverride: ""
dnsServerOverride: ""
fqdnCacheMinTTL: 0
tlsCipherSuites: ""
tlsMinVersion: ""
transportInterface: ""
transportInterfaceCIDRs: []
multicast: {enable: false, multicastInterfaces: [], igmpQueryVersions: [1, 2, 3], igmpQueryInterval: 125s}
antreaProxy: {enable: true, proxyAll: false, nodePortAddresses: [], skipServices: [],
              proxyLoadBalancerIPs: true, serviceProxyName: "", defaultLoadBalancerMode: nat,
              disableServiceHealthCheckServer: false, serviceHealthCheckServerBindAddress: "0.0.0.0:10256"}
egress: {exceptCIDRs: [], maxEgressIPsPerNode: 255, snatFullyRandomPorts: false,
         uniqueMACForSubInterfaces: true}
ipsec: {authenticationMode: psk}
multicluster: {enableGateway: false, namespace: "", enableStretchedNetworkPolicy: false,
               enablePodToPodConnectivity: false, trafficEncryptionMode: none, wireGuard: {port: 51821}}
nodeType: k8sNode
externalNode: {externalNodeNamespace: default, policyBypassRules: [{direction: ingress, port: 22}]}
auditLogging: {maxSize: 500, maxBackups: 3, maxAge: 28, compress: true}
secondaryNetwork: {ovsBridges: [{bridgeName: br1}]}
packetInRate: 5000
hostNetworkAcceleration: {enable: true}
hostNetworkMode: iptables
"""


def load(tmp_path: Path, text: str) -> config.Settings:
    path = tmp_path / "agent.conf"
    path.write_text(text)
    return config.load(str(path))


def test_every_key_of_upstream_is_known(tmp_path: Path) -> None:
    settings = load(tmp_path, UPSTREAM)
    assert settings.config.client_connection.kubeconfig == "/k"
    keys, gates = settings.notes
    assert "no effect" in keys
    assert "antreaProxy" in keys
    assert "ovsBridge" not in keys
    assert "Egress" in gates


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert settings.notes == ()
    assert (settings.config.api_address, settings.config.api_port) == ("", 10350)
    assert settings.config.ovs_bridge == "br-int"
    assert settings.cni_socket == Path("/var/run/antrea/cni.sock")
    assert settings.token_file == Path("/var/run/antrea/apiserver/loopback-client-token")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("apiPrt: 1", "'apiPrt', which is not known"),
        ("antreaProxy: {prxyAll: true}", "'antreaProxy.prxyAll', which is not known"),
        ("apiPort: many", "apiPort in"),
        ("apiPort: 70000", "apiPort in"),
        ("tunnelType: wire", "tunnelType in"),
        ("tlsMinVersion: TLS12", "tlsMinVersion in"),
        ("tlsCipherSuites: TLS_RSA_WITH_RC4_128_SHA", "tlsCipherSuites in"),
        ("ovsDatapathType: hardware", "ovsDatapathType in"),
        ("trafficEncapMode: noEncap", "only encap"),
        ("trafficEncryptionMode: ipsec", "cannot be encrypted"),
        ("nodeType: externalNode", "only k8sNode"),
        ("apiAddress: localhost", "write an IP address"),
        ("policyWaitTimeout: 0", "above 0"),
        ("featureGates: {NoSuchGate: true}", "'NoSuchGate'"),
        ("apiPort: 1\napiPort: 2", "twice"),
        ("[", "not valid YAML"),
    ],
)
def test_a_mistake_is_named_with_key_and_file(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(tmp_path, text)
    assert sentence in str(raised.value)
    assert str(tmp_path / "agent.conf") in str(raised.value)


def test_the_environment_names_node_and_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_NAME", "n7")
    monkeypatch.setenv("POD_NAMESPACE", "antrea")
    settings = load(tmp_path, "")
    assert (settings.node_name, settings.namespace) == ("n7", "antrea")
    assert load(tmp_path, "nodeName: n8").node_name == "n8"
