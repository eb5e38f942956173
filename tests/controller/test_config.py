"""antrea-controller.conf: upstream's keys are known, mistakes end the start with a sentence."""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from controller import config
from runtime import tls
from runtime.errors import ConfigurationError

PROJECT = Path(__file__).parents[2]

# As upstream's manifest renders it, every key with its default.
UPSTREAM = """
featureGates:
  Multicast: true
clientConnection: {kubeconfig: /k, qps: 50, burst: 100}
apiPort: 10349
enablePrometheusMetrics: true
selfSignedCert: true
tlsCipherSuites:
tlsMinVersion:
clientCAFile: ""
kubeAPIServerOverride: ""
nodeIPAM:
  enableNodeIPAM: false
  clusterCIDRs: []
  serviceCIDR:
  serviceCIDRv6:
  nodeCIDRMaskSizeIPv4: 24
  nodeCIDRMaskSizeIPv6: 64
ipsecCSRSigner: {autoApprove: true, selfSignedCA: true}
multicluster: {enableStretchedNetworkPolicy: false, namespace: ""}
"""


def load(text: str, tmp_path: Path) -> config.Settings:
    path = tmp_path / "antrea-controller.conf"
    path.write_text(text)
    return config.load(str(path))


def test_every_key_of_upstream_is_known_and_idle_ones_are_named_once(tmp_path: Path) -> None:
    settings = load(UPSTREAM, tmp_path)
    assert settings.config.client_connection.kubeconfig == "/k"
    [keys, gates] = settings.notes
    assert [word.strip(" .") for word in keys.rpartition(":")[2].split(",")] == [
        "clientConnection.qps", "clientConnection.burst", "nodeIPAM", "ipsecCSRSigner", "multicluster",
    ]  # fmt: skip
    assert "Multicast" in gates


def test_gates_that_only_admit_objects_are_named_as_such(tmp_path: Path) -> None:
    gates = "{L7NetworkPolicy: true, Egress: false, AntreaPolicy: true, Multicast: true}"
    idle, admitting = load(f"featureGates: {gates}", tmp_path).notes
    assert "no effect" in idle
    assert idle.endswith(": Multicast.")
    assert "only admits the objects" in admitting
    assert admitting.endswith(": L7NetworkPolicy.")


def test_an_empty_file_and_none_mean_the_defaults(tmp_path: Path) -> None:
    for settings in (load("", tmp_path), config.load("")):
        assert (settings.config.api_port, settings.config.self_signed, settings.config.metrics) == (
            10349,
            True,
            True,
        )
        assert settings.notes == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("apiPrt: 1", ["apiPrt", "apiPort"]),
        ("apiPort: 0", ["apiPort", "1 to 65535"]),
        ("apiPort: text", ["apiPort", "whole number"]),
        ("maxConnections: 0", ["maxConnections", "nobody is served"]),
        ("maxConnectionsPerAddress: -1", ["maxConnectionsPerAddress", "nobody is served"]),
        ("apiAddress: here", ["apiAddress", "an IP address"]),
        ("nodeIPAM: {enable: true}", ["nodeIPAM.enable"]),
        ("featureGates: {Antrea: true}", ["Antrea", "no feature gate"]),
        ("featureGates: {AntreaPolicy: 1}", ["featureGates"]),
        ("tlsMinVersion: TLS12", ["tlsMinVersion", "VersionTLS12"]),
        ("tlsCipherSuites: TLS_RSA_WITH_RC4_128_SHA", ["tlsCipherSuites", "TLS_RSA_WITH_RC4_128_SHA"]),
    ],
)
def test_mistakes_name_key_and_file(text: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(text, tmp_path)
    for word in ["antrea-controller.conf", *words]:
        assert word in str(refused.value)


def test_the_process_ends_with_the_sentence_and_status_one(tmp_path: Path) -> None:
    path = tmp_path / "antrea-controller.conf"
    path.write_text("selfSignedCrt: true")
    command = [sys.executable, "-m", "controller.main", "--config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=PROJECT)
    assert done.returncode == 1
    assert "selfSignedCrt" in done.stderr
    assert "did you mean selfSignedCert?" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "openssl"),
    [
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
        ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
        ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        ("TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA"),
    ],
)
def test_cipher_suites_are_served_under_gos_names(name: str, openssl: str) -> None:
    assert tls.cipher_suites(f"{name}, TLS_AES_128_GCM_SHA256", "f") == [openssl]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.apply(context, tls.minimum_version("VersionTLS13", "f"), [openssl])
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert openssl in {cipher["name"] for cipher in context.get_ciphers()}
