"""What a fresh cluster needs before controller and agents start: objects, and a kubeconfig for each."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from client.resources import SERVICE_ACCOUNTS
from client.rest import RestClient
from lab import apply
from lab.addressing import API_PORT, CONTROL_ADDRESS
from lab.api import credentials
from lab.directory import LabDirectory, LabFacts, NodeDirectory
from lab.errors import LabError

_ROOT = Path(__file__).parents[1]
_DEPLOY = _ROOT / "deploy" / "base"
# What a cluster gets from deploy/, as far as it concerns the API, and what only the lab has to make itself.
MANIFESTS = (
    Path(__file__).parent / "manifests",
    _ROOT / "openapi" / "crds",
    *(
        _DEPLOY / f"{name}.yaml"
        for name in ("access-agent", "access-antctl", "access-controller", "apiservices", "webhooks")
    ),
)
COMPONENTS = ("antrea-controller", "antrea-agent")
CRD_TIMEOUT = 15.0


def controller_service(facts: LabFacts) -> list[apply.Document]:
    """The Service behind the aggregated groups, and where the controller listens.

    An APIService reaches its server through a Service. With nodes the controller has an address of its own
    in the control namespace, and Endpoints name it; without nodes it is on loopback, which Endpoints may not
    name, and the Service is of type ExternalName."""
    metadata = {"name": "antrea", "namespace": "kube-system", "labels": {"app": "antrea"}}
    if not facts.with_nodes:
        port = {"name": "https", "port": facts.controller_port, "protocol": "TCP"}
        return [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": metadata,
                "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [port]},
            }
        ]
    target = {"name": "https", "port": facts.controller_port, "protocol": "TCP"}
    labels = {
        "app": "antrea",
        "kubernetes.io/service-name": "antrea",
        "endpointslice.kubernetes.io/managed-by": "lab",
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            # Without a selector: the controller is a process of the lab and no Pod.
            "spec": {
                "ports": [
                    {"name": "https", "port": 443, "protocol": "TCP", "targetPort": facts.controller_port}
                ]
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": metadata,
            "subsets": [{"addresses": [{"ip": CONTROL_ADDRESS}], "ports": [target]}],
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "name": "antrea-lab", "labels": labels},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [CONTROL_ADDRESS], "conditions": {"ready": True}}],
            "ports": [target],
        },
    ]


def direct_to(port: int, documents: list[apply.Document]) -> None:
    """Makes what calls the controller through its Service use this port: a Service of type ExternalName has
    none of its own to translate. For APIServices, admission and conversion webhooks."""
    for document in documents:
        spec = document.get("spec", {})
        if document["kind"] == "APIService":
            spec["service"]["port"] = port
        elif document["kind"] == "CustomResourceDefinition" and "conversion" in spec:
            spec["conversion"]["webhook"]["clientConfig"]["service"]["port"] = port
        for webhook in document.get("webhooks", ()):
            webhook["clientConfig"]["service"]["port"] = port


async def apply_all(client: RestClient, facts: LabFacts) -> None:
    """All bootstrap objects. CustomResourceDefinitions are waited for: their kinds are used next."""
    documents = apply.read(MANIFESTS) + controller_service(facts)
    if not facts.with_nodes:
        direct_to(facts.controller_port, documents)
    await apply.apply_all(client, documents)
    names = [d["metadata"]["name"] for d in documents if d["kind"] == "CustomResourceDefinition"]
    await asyncio.gather(*(_wait_established(client, name) for name in names))


async def _wait_established(client: RestClient, name: str) -> None:
    deadline = time.monotonic() + CRD_TIMEOUT
    while time.monotonic() < deadline:
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
        conditions = ((await client.request("GET", path)).json().get("status") or {}).get("conditions") or []
        if any(c.get("type") == "Established" and c.get("status") == "True" for c in conditions):
            return
        await asyncio.sleep(0.05)
    raise LabError(f"the CustomResourceDefinition {name} was not established within {CRD_TIMEOUT:g} s")


# -- kubeconfigs --------------------------------------------------------------------------------------------


def inner_server(facts: LabFacts) -> str:
    """The API as the lab's own processes reach it."""
    if facts.with_nodes:
        return f"https://{CONTROL_ADDRESS}:{API_PORT}"
    return f"https://127.0.0.1:{facts.api_port}"


def write_kubeconfigs(directory: LabDirectory, facts: LabFacts) -> None:
    """The administrator's, for the user on the host and for the lab's processes. Needs no running API."""
    name = f"antrea-lab-{directory.name}"
    credentials.write_admin(directory.api, f"https://127.0.0.1:{facts.api_port}", directory.kubeconfig, name)
    credentials.write_admin(directory.api, inner_server(facts), directory.inner_kubeconfig, name)


def write_node_kubeconfig(directory: LabDirectory, facts: LabFacts, node: NodeDirectory) -> Path:
    """The kubelet's: system:node:NAME in the group system:nodes, as in a cluster."""
    path = node.kubelet / "kubeconfig"
    user, groups = f"system:node:{node.name}", ["system:nodes"]
    credentials.write_user(directory.api, inner_server(facts), path, user, groups)
    return path


def component_kubeconfig(directory: LabDirectory, component: str) -> Path:
    return directory.path / f"kubeconfig-{component}"


async def write_component_kubeconfigs(client: RestClient, directory: LabDirectory, facts: LabFacts) -> None:
    """A kubeconfig with a token of its own ServiceAccount for each component: RBAC holds for them too."""
    for component in COMPONENTS:
        account = (await client.request("GET", SERVICE_ACCOUNTS.path(component, "kube-system"))).json()
        credentials.write_service_account(
            directory.api,
            inner_server(facts),
            component_kubeconfig(directory, component),
            "kube-system",
            component,
            account["metadata"]["uid"],
        )
