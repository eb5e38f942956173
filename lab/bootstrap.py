"""What a fresh cluster needs before controller and agents start: objects, and a kubeconfig for each of them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import yaml

from client.errors import ApiError
from client.resources import SERVICE_ACCOUNTS
from client.rest import RestClient
from lab import apply
from lab.addressing import API_PORT, CONTROL_ADDRESS
from lab.directory import LabDirectory, LabFacts, write_atomically
from lab.errors import LabError

MANIFESTS = Path(__file__).parent / "manifests"
COMPONENTS = ("antrea-controller", "antrea-agent")
TOKEN_SECONDS = 10 * 365 * 86400  # nobody renews a lab's tokens
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


async def apply_all(client: RestClient, facts: LabFacts) -> None:
    """All bootstrap objects. CustomResourceDefinitions are waited for: their kinds are used next."""
    documents = apply.read([MANIFESTS]) + controller_service(facts)
    if not facts.with_nodes:
        port = facts.controller_port
        for document in documents:
            if document["kind"] == "APIService":
                document["spec"]["service"]["port"] = port
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
    return (
        f"https://{CONTROL_ADDRESS}:{API_PORT}" if facts.with_nodes else f"https://127.0.0.1:{facts.api_port}"
    )


def write_kubeconfigs(directory: LabDirectory, facts: LabFacts) -> bool:
    """The administrator's two kubeconfigs, from the one that the API writes at its start; False if it has
    not done so yet."""
    source = directory.api / "kubeconfig"
    if not source.exists():
        return False
    document = yaml.safe_load(source.read_text())
    for path, server in (
        (directory.kubeconfig, f"https://127.0.0.1:{facts.api_port}"),
        (directory.inner_kubeconfig, inner_server(facts)),
    ):
        for cluster in document["clusters"]:
            cluster["cluster"]["server"] = server
        write_atomically(path, yaml.safe_dump(document, sort_keys=False))
    return True


def component_kubeconfig(directory: LabDirectory, component: str) -> Path:
    return directory.path / f"kubeconfig-{component}"


async def write_component_kubeconfigs(client: RestClient, directory: LabDirectory, facts: LabFacts) -> None:
    """A kubeconfig with a token of its own ServiceAccount for each component: RBAC holds for them too."""
    admin: dict[str, Any] = yaml.safe_load(directory.inner_kubeconfig.read_text())
    for component in COMPONENTS:
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [], "expirationSeconds": TOKEN_SECONDS},
        }
        path = SERVICE_ACCOUNTS.path(component, "kube-system", "token")
        try:
            answer = await client.request("POST", path, body=request)
        except ApiError as error:
            raise LabError(f"no token for the ServiceAccount {component}: {error}") from error
        document = {
            **admin,
            "users": [{"name": component, "user": {"token": answer.json()["status"]["token"]}}],
            "contexts": [
                {"name": "lab", "context": {"cluster": admin["clusters"][0]["name"], "user": component}}
            ],
            "current-context": "lab",
        }
        write_atomically(
            component_kubeconfig(directory, component), yaml.safe_dump(document, sort_keys=False)
        )
