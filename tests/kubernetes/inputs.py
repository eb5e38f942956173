"""The recorded cluster's Kubernetes objects, created in another one: namespaces, nodes, pods, policies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from client.errors import ApiError
from client.rest import RestClient
from tests.controller.control_plane import ControlPlane, eventually, running
from tests.kubernetes.cluster import Cluster

DATA = Path(__file__).parents[1] / "data" / "kubectl"
# What follows from them.
POLICIES, GROUPS, MEMBERS = 5, 3, 7
PLURALS = {"Namespace": "namespaces", "Node": "nodes", "Pod": "pods", "NetworkPolicy": "networkpolicies"}

Document = dict[str, Any]


def documents() -> list[Document]:
    found: list[Document] = json.loads((DATA / "inputs.json").read_text())
    return found


def path(document: Document, *, collection: bool = False, subresource: str = "") -> str:
    group, _, version = document["apiVersion"].rpartition("/")
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    namespace = document["metadata"].get("namespace")
    plural = PLURALS.get(document["kind"], document["kind"].lower() + "s")
    base = f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"
    if collection:
        return base
    return "/".join(part for part in (base, document["metadata"]["name"], subresource) if part)


async def create(kube: RestClient, document: Document) -> None:
    """The object, and its status, which Kubernetes takes apart from it."""
    status = document.get("status")
    if document["kind"] == "Pod":
        # The admission of Pods wants the account, which a controller makes a moment after the Namespace.
        document = {**document, "spec": {**document["spec"], "serviceAccountName": "default"}}
        namespace = document["metadata"]["namespace"]
        account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
        await eventually(lambda: kube.get(account), f"{namespace} has an account")
    try:
        await kube.create(path(document, collection=True), document)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
    if status is not None and document["kind"] in ("Pod", "Node"):
        await kube.request(
            "PATCH",
            path(document, subresource="status"),
            body={"status": status},
            content_type="application/merge-patch+json",
        )


async def create_all(kube: RestClient) -> None:
    for document in documents():
        await create(kube, document)


async def administrator(kube: RestClient, name: str) -> None:
    """A ServiceAccount in kube-system that may do everything."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": "kube-system"},
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": role,
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}],
    }
    for document in (account, binding):
        await kube.create(path(document, collection=True), document)


@asynccontextmanager
async def filled(cluster: Cluster, directory: Path) -> AsyncIterator[ControlPlane]:
    """A controller behind the cluster's API, which has computed what follows from the inputs."""
    async with running(directory, cluster) as plane:
        await create_all(cluster.kube)
        await eventually(lambda: computed(plane), "everything is computed")
        yield plane


async def computed(plane: ControlPlane) -> bool:
    """Whether the controller, asked through the cluster's API, shows all that follows from the inputs."""
    base = "/apis/controlplane.antrea.io/v1beta2"
    groups = (await plane.json(f"{base}/addressgroups"))["items"]
    members = sum(len(group.get("groupMembers", ())) for group in groups)
    policies = (await plane.json(f"{base}/networkpolicies"))["items"]
    return (len(policies), len(groups), members) == (POLICIES, GROUPS, MEMBERS)
