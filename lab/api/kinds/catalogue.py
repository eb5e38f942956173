"""Every built-in kind that is served, in the order in which discovery lists the groups."""

from __future__ import annotations

from apiserver.documents.kind import Kind
from lab.api.kinds.access import ClusterRoleBindings, ClusterRoles, RoleBindings, Roles
from lab.api.kinds.configuration import ConfigMaps, Secrets, ServiceAccounts
from lab.api.kinds.definitions import Definitions
from lab.api.kinds.events import Events
from lab.api.kinds.machinery import APIServices, Leases, MutatingWebhooks, ValidatingWebhooks
from lab.api.kinds.namespaces import Namespaces
from lab.api.kinds.networkpolicies import NetworkPolicies
from lab.api.kinds.nodes import Nodes
from lab.api.kinds.pods import Pods
from lab.api.kinds.services import Endpoints, EndpointSlices, Services


def kinds() -> list[Kind]:
    return [
        ConfigMaps(),
        Endpoints(),
        Events(),
        Namespaces(),
        Nodes(),
        Pods(),
        Secrets(),
        ServiceAccounts(),
        Services(),
        APIServices(),
        NetworkPolicies(),
        ClusterRoleBindings(),
        ClusterRoles(),
        RoleBindings(),
        Roles(),
        MutatingWebhooks(),
        ValidatingWebhooks(),
        Definitions(),
        Leases(),
        EndpointSlices(),
    ]
