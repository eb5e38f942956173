"""The definitions themselves: what a client of Antrea v2.7 finds, and that the committed files are theirs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from openapi.definitions import DEFINITIONS
from openapi.definitions.manifests import files
from openapi.definitions.resource import Definition
from openapi.definitions.roles import roles
from tests.openapi import recorded

CRDS = Path(__file__).parents[2] / "openapi" / "crds"
MANIFESTS = {definition.kind: definition.manifest() for definition in DEFINITIONS}

# kind, plural, short names, namespaced, versions (the stored one first), versions with a status subresource
INDEX = """
ClusterNetworkPolicy     clusternetworkpolicies    acnp              -  v1beta1           status
NetworkPolicy            networkpolicies           annp,anp          n  v1beta1           status
Tier                     tiers                     tr                -  v1beta1           -
ClusterGroup             clustergroups             cg                -  v1beta1           status
Group                    groups                    grp               n  v1beta1           status
Egress                   egresses                  eg                -  v1beta1,v1alpha2  status
ExternalIPPool           externalippools           eip               -  v1beta1,v1alpha2  status
IPPool                   ippools                   ipp               -  v1beta1,v1alpha2  status
ExternalEntity           externalentities          ee                n  v1alpha2          -
ExternalNode             externalnodes             en                n  v1alpha1          -
Traceflow                traceflows                tf                -  v1beta1           status
TrafficControl           trafficcontrols           tc                -  v1alpha2          status
SupportBundleCollection  supportbundlecollections  sbc               -  v1alpha1          status
PacketCapture            packetcaptures            pcap              -  v1alpha1          status
BGPPolicy                bgppolicies               -                 -  v1alpha1          -
NodeLatencyMonitor       nodelatencymonitors       nlm               -  v1alpha1          -
FlowExporterDestination  flowexporterdestinations  flowexporterdest  -  v1alpha1          -
AntreaNodeConfig         antreanodeconfigs         anc               -  v1alpha1          -
AntreaAgentInfo          antreaagentinfos          aai               -  v1beta1           -
AntreaControllerInfo     antreacontrollerinfos     aci               -  v1beta1           -
"""


def test_the_index_of_kinds() -> None:
    found = []
    for manifest in MANIFESTS.values():
        spec = manifest["spec"]
        versions = spec["versions"]
        statuses = {"status" if v.get("subresources") == {"status": {}} else "-" for v in versions}
        found.append(
            [
                spec["names"]["kind"],
                spec["names"]["plural"],
                ",".join(spec["names"].get("shortNames", ())) or "-",
                {"Namespaced": "n", "Cluster": "-"}[spec["scope"]],
                ",".join(version["name"] for version in versions),
                *statuses,
            ]
        )
        assert manifest["metadata"]["name"] == f"{spec['names']['plural']}.crd.antrea.io"
        assert [version["storage"] for version in versions] == [True] + [False] * (len(versions) - 1)
        assert all(version["served"] for version in versions)
        assert "categories" not in spec["names"]
    assert found == [line.split() for line in INDEX.strip().splitlines()]


# name type[/format] path, and the priority of columns that only -o wide shows
AGE = "Age date .metadata.creationTimestamp"
POLICY = f"""
    Tier string .spec.tier
    Priority number/float .spec.priority
    Desired_Nodes number/int32 .status.desiredNodesRealized
    Current_Nodes number/int32 .status.currentNodesRealized
    {AGE}"""
POOL = f"""
    Total integer .status.usage.total
    Used integer .status.usage.used
    {AGE}"""
COLUMNS = {
    "ClusterNetworkPolicy": POLICY,
    "NetworkPolicy": POLICY,
    "Tier": f"""
        Priority integer .spec.priority
        {AGE}""",
    "ClusterGroup": "",
    "Group": "",
    "Egress": f"""
        EgressIP string .status.egressIP
        {AGE}
        Node string .status.egressNode""",
    "ExternalIPPool": POOL,
    "IPPool": POOL,
    "ExternalEntity": "",
    "ExternalNode": "",
    "Traceflow": f"""
        Phase string .status.phase
        Source-Pod string .spec.source.pod 10
        Destination-Pod string .spec.destination.pod 10
        Destination-IP string .spec.destination.ip 10
        Live-Traffic boolean .spec.liveTraffic 10
        Dropped-Only boolean .spec.droppedOnly 10
        Timeout integer .spec.timeout 10
        {AGE}""",
    "TrafficControl": f"""
        Direction string .spec.direction
        Action string .spec.action
        {AGE}""",
    "SupportBundleCollection": "",
    "PacketCapture": f"""
        Source-Pod string .spec.source.pod 10
        Destination-Pod string .spec.destination.pod 10
        Source-IP string .spec.source.ip 10
        Destination-IP string .spec.destination.ip 10
        Timeout integer .spec.timeout 10
        {AGE}
        Captured-Packets integer .status.numberCaptured
        Started string .status.conditions[?(@.type=="PacketCaptureStarted")].status
        Complete string .status.conditions[?(@.type=="PacketCaptureComplete")].status
        Uploaded string .status.conditions[?(@.type=="PacketCaptureFileUploaded")].status 10""",
    "BGPPolicy": f"""
        Local_ASN integer .spec.localASN
        {AGE}""",
    "NodeLatencyMonitor": f"""
        PingIntervalSeconds string .spec.pingIntervalSeconds
        {AGE}""",
    "FlowExporterDestination": "Address:Port string .spec.address",
    "AntreaNodeConfig": AGE,
    "AntreaAgentInfo": """
        Healthy string .agentConditions[?(@.type=='AgentHealthy')].status
        Last_Heartbeat date .agentConditions[?(@.type=='AgentHealthy')].lastHeartbeatTime
        Version string .version 1
        Node string .nodeRef.name 1
        Num_Pods integer .localPodNum 2
        Subnets string .nodeSubnets 2""",
    "AntreaControllerInfo": """
        Healthy string .controllerConditions[?(@.type=='ControllerHealthy')].status
        Last_Heartbeat date .controllerConditions[?(@.type=='ControllerHealthy')].lastHeartbeatTime
        Version string .version 1
        Connected_Agents integer .connectedAgentNum 1
        Node string .nodeRef.name 1
        Num_Network_Policies integer .networkPolicyControllerInfo.networkPolicyNum 2""",
}


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.kind)
def test_columns(definition: Definition) -> None:
    expected = [line.strip() for line in COLUMNS[definition.kind].strip().splitlines()]
    for version in definition.manifest()["spec"]["versions"]:
        found = []
        for column in version.get("additionalPrinterColumns", ()):
            kind = column["type"] + (f"/{column['format']}" if "format" in column else "")
            priority = f" {column['priority']}" if "priority" in column else ""
            found.append(f"{column['name'].replace(' ', '_')} {kind} {column['jsonPath']}{priority}")
        assert found == expected


def test_labels() -> None:
    bare = {kind for kind, manifest in MANIFESTS.items() if "labels" not in manifest["metadata"]}
    assert bare == {
        "Group", "TrafficControl", "SupportBundleCollection", "BGPPolicy", "NodeLatencyMonitor",
    }  # fmt: skip
    assert all(m["metadata"]["labels"]["app"] == "antrea" for k, m in MANIFESTS.items() if k not in bare)


def test_definitions_that_the_controller_converts_are_labelled_for_it() -> None:
    converted = {
        kind: manifest["spec"]["conversion"]["webhook"]["clientConfig"]
        for kind, manifest in MANIFESTS.items()
        if manifest["metadata"].get("labels", {}).get("served-by") == "antrea-controller"
    }
    service = {"name": "antrea", "namespace": "kube-system", "port": 443}
    assert converted == {
        "Egress": {"service": service | {"path": "/convert/egress"}},
        "ExternalIPPool": {"service": service | {"path": "/convert/externalippool"}},
        "IPPool": {"service": service | {"path": "/convert/ippool"}},
    }
    assert {kind for kind, m in MANIFESTS.items() if "conversion" in m["spec"]} == set(converted)


@pytest.mark.parametrize("kind", ["Egress", "ExternalIPPool"])
def test_what_v1beta1_says_can_be_said_in_v1alpha2(kind: str) -> None:
    new, old = MANIFESTS[kind]["spec"]["versions"]
    assert new["schema"] == old["schema"]
    assert old["deprecationWarning"] == (
        f"crd.antrea.io/v1alpha2 {kind} is deprecated; use crd.antrea.io/v1beta1 {kind}"
    )


def _undescribed(schema: dict[str, Any], path: str) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        if not field.get("description", "").endswith("."):
            yield f"{path}.{name}"
        yield from _undescribed(field, f"{path}.{name}")
    for part in ("items", "additionalProperties"):
        if part in schema:
            yield from _undescribed(schema[part], path)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.kind)
def test_every_field_explains_itself(definition: Definition) -> None:
    for version in definition.versions:
        assert version.schema["description"]
        described = {key: value for key, value in version.schema["properties"].items() if key != "metadata"}
        assert list(_undescribed({"properties": described}, "")) == []


def test_the_committed_manifests_are_those_of_the_definitions() -> None:
    written = dict(files())
    assert sorted(path.name for path in CRDS.glob("*.yaml")) == sorted(written)
    for name, text in written.items():
        assert (CRDS / name).read_text() == text, f"{name} is out of date: run python -m openapi.generate"


def test_the_kustomization_names_every_file() -> None:
    kustomization = yaml.safe_load((CRDS / "kustomization.yaml").read_text())
    others = {path.name for path in CRDS.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == others


def test_the_aggregated_roles() -> None:
    found = {role["metadata"]["name"]: role for role in roles()}
    assert {name: role["rules"][0]["resources"] for name, role in found.items()} == {
        "aggregate-antrea-policies-edit": ["clusternetworkpolicies", "networkpolicies"],
        "aggregate-antrea-policies-view": ["clusternetworkpolicies", "networkpolicies"],
        "aggregate-traceflows-edit": ["traceflows"],
        "aggregate-traceflows-view": ["traceflows"],
        "aggregate-antrea-clustergroups-edit": ["clustergroups"],
        "aggregate-antrea-clustergroups-view": ["clustergroups"],
    }
    for name, role in found.items():
        into = {label.rpartition("aggregate-to-")[2] for label in role["metadata"]["labels"]} - {"app"}
        assert into == ({"admin", "edit"} if name.endswith("-edit") else {"view"})
        verbs = ["get", "list", "watch"]
        if name.endswith("-edit"):
            verbs += ["create", "update", "patch", "delete"]
        assert role["rules"][0]["verbs"] == verbs


def test_cases_that_are_set_apart_are_recorded() -> None:
    """Otherwise a mistyped name would set nothing apart, or hide that a case is gone."""
    names = {case["name"] for subject in recorded.SUBJECTS for case in recorded.load(subject)}
    assert {*recorded.NEEDS_CONTROLLER, *recorded.DIFFERENT} <= names
