"""The rules and conversions of everything but policies, tiers and groups: each is served with its gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.admission import ip_pools, node_configs
from controller.admission.egresses import EgressRules
from controller.admission.external_pools import ExternalIPPoolRules
from controller.admission.known_pools import ExternalIPPools, PoolsNow
from controller.admission.packet_captures import PacketCaptureRules
from controller.admission.secret_access import SecretAccess
from controller.admission.support_bundles import SupportBundleCollections, SupportBundleRules
from controller.admission.traceflows import TraceflowRules
from controller.admission.unbuilt import unbuilt
from controller.conversions.external_ip_pools import external_ip_pool
from controller.conversions.ip_pools import ip_pool
from controller.conversions.versions import egress

if TYPE_CHECKING:
    from controller.admission.registration import Webhooks


def register(webhooks: Webhooks) -> None:
    admission, conversion = webhooks.admission, webhooks.conversion
    circumstances = webhooks.circumstances
    enabled = circumstances.gates.enabled
    access = SecretAccess(circumstances.client)

    # Whatever the gates say, an object that is stored can be read as v1alpha2.
    conversion.path("/convert/egress", egress)
    conversion.path("/convert/externalippool", external_ip_pool)
    if enabled("Egress") or enabled("ServiceExternalIP"):
        known, now = ExternalIPPools(), PoolsNow(circumstances.client)
        webhooks.known.add(known)
        admission.path("/validate/externalippool", ExternalIPPoolRules(known, now))
        if enabled("Egress"):
            admission.path("/validate/egress", unbuilt(EgressRules(known, now)))
    if enabled("AntreaIPAM"):
        admission.path("/validate/ippool", ip_pools.check)
        conversion.path("/convert/ippool", ip_pool)
    if enabled("SupportBundleCollection"):
        collections = SupportBundleCollections()
        webhooks.known.add(collections)
        admission.path("/validate/supportbundlecollection", SupportBundleRules(collections, access))
    if enabled("Traceflow"):
        admission.path("/validate/traceflow", unbuilt(TraceflowRules(circumstances.client)))
    admission.path("/validate/packetcapture", unbuilt(PacketCaptureRules(access, circumstances.namespace)))
    if enabled("AntreaNodeConfig"):
        admission.path("/validate/antreanodeconfig", node_configs.check)
