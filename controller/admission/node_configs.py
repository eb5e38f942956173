"""AntreaNodeConfig: the VLANs that an interface of a secondary network's bridge lets through."""

from __future__ import annotations

import msgspec

from apis.gojson import unmarshal
from apiserver.admission import ALLOWED, AdmissionRequest, Verdict, refused
from controller.admission.objects import LabelSelector, V1Alpha1
from controller.admission.vlans import vlan_refusal


class PhysicalInterfaceConfig(V1Alpha1):
    name: str | None = None
    allowed_vlans: list[str] | None = msgspec.field(name="allowedVLANs", default=None)


class OVSBridgeConfig(V1Alpha1):
    bridge_name: str | None = None
    physical_interfaces: list[PhysicalInterfaceConfig] | None = None
    enable_multicast_snooping: bool | None = None


class SecondaryNetworkConfig(V1Alpha1):
    ovs_bridges: list[OVSBridgeConfig] | None = None


class AntreaNodeConfigSpec(V1Alpha1):
    node_selector: LabelSelector | None = None
    secondary_network: SecondaryNetworkConfig | None = None


class AntreaNodeConfig(V1Alpha1):
    spec: AntreaNodeConfigSpec | None = None


def check(request: AdmissionRequest) -> Verdict:
    """The handler."""
    if request.operation not in ("CREATE", "UPDATE"):
        return ALLOWED
    if request.object is None:
        return refused("missing object in AdmissionReview")
    refusal = _refusal(unmarshal(request.object, AntreaNodeConfig))
    return refused(refusal) if refusal else ALLOWED


def _refusal(config: AntreaNodeConfig) -> str | None:
    network = config.spec.secondary_network if config.spec else None
    for i, bridge in enumerate((network.ovs_bridges if network else None) or ()):
        for j, interface in enumerate(bridge.physical_interfaces or ()):
            for vlan in interface.allowed_vlans or ():
                problem = vlan_refusal(vlan)
                if problem is not None:
                    where = f"spec.secondaryNetwork.ovsBridges[{i}].physicalInterfaces[{j}].allowedVLANs"
                    return f"{where} is invalid: {problem}"
    return None
