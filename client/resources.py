"""Paths of the resources that the project reads and writes."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of one API version, and where it is served. ``group`` is empty for the core group."""

    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, name: str = "", namespace: str = "", subresource: str = "") -> str:
        """The collection's path, or an object's. A collection without a namespace spans all of them."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


NAMESPACES = Resource("", "v1", "namespaces")
NODES = Resource("", "v1", "nodes")
PODS = Resource("", "v1", "pods")
SERVICES = Resource("", "v1", "services")
CONFIG_MAPS = Resource("", "v1", "configmaps")
SECRETS = Resource("", "v1", "secrets")
EVENTS = Resource("", "v1", "events")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices")
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies")
LEASES = Resource("coordination.k8s.io", "v1", "leases")
DAEMON_SETS = Resource("apps", "v1", "daemonsets")
API_SERVICES = Resource("apiregistration.k8s.io", "v1", "apiservices")
TOKEN_REVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews")
SUBJECT_ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews")
CUSTOM_RESOURCE_DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions")
MUTATING_WEBHOOKS = Resource("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations")
VALIDATING_WEBHOOKS = Resource("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations")
CONTROLLER_INFOS = Resource("crd.antrea.io", "v1beta1", "antreacontrollerinfos")
AGENT_INFOS = Resource("crd.antrea.io", "v1beta1", "antreaagentinfos")

CONTROL_PLANE = "controlplane.antrea.io"
CP_NETWORK_POLICIES = Resource(CONTROL_PLANE, "v1beta2", "networkpolicies")
CP_ADDRESS_GROUPS = Resource(CONTROL_PLANE, "v1beta2", "addressgroups")
CP_APPLIED_TO_GROUPS = Resource(CONTROL_PLANE, "v1beta2", "appliedtogroups")
SYSTEM_CONTROLLER_INFOS = Resource("system.antrea.io", "v1beta1", "controllerinfos")

ANTREA = "crd.antrea.io"
TIERS = Resource(ANTREA, "v1beta1", "tiers")
CLUSTER_POLICIES = Resource(ANTREA, "v1beta1", "clusternetworkpolicies")
POLICIES = Resource(ANTREA, "v1beta1", "networkpolicies")
CLUSTER_GROUPS = Resource(ANTREA, "v1beta1", "clustergroups")
GROUPS = Resource(ANTREA, "v1beta1", "groups")
EXTERNAL_IP_POOLS = Resource(ANTREA, "v1beta1", "externalippools")
SUPPORT_BUNDLE_COLLECTIONS = Resource(ANTREA, "v1alpha1", "supportbundlecollections")
