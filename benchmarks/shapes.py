"""The clusters of upstream's start-up tests (networkpolicy_controller_perf_test.go, v2.7) as raw JSON lists.

Objects look as kube-apiserver returns them: with managedFields, volumes, tolerations and conditions a Pod has
more than 3 kB. Lists come in pages of 500 objects, as clients ask for them. A data set is a directory with
one file for each kind; a file is a sequence of pages, each behind its length in eight bytes.
"""

from __future__ import annotations

import json
import random
import string
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

Document = dict[str, Any]
Labels = dict[str, str]

PAGE = 500
NODES = 1000
KINDS = ("namespaces", "pods", "networkpolicies")


class Cluster:
    """Makes objects from a seed, so that each run measures the same."""

    def __init__(self, seed: int = 7) -> None:
        self.random = random.Random(seed)
        self.namespaces: list[Document] = []
        self.pods: list[tuple[str, Labels]] = []
        self.policies: list[Document] = []

    def word(self) -> str:
        return "".join(self.random.choices(string.ascii_lowercase + string.digits, k=8))

    def uid(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def namespace(self, name: str, labels: Labels) -> None:
        metadata = {"name": name, "uid": self.uid(), "resourceVersion": "100", "labels": labels}
        self.namespaces.append(
            {
                "metadata": {**metadata, "creationTimestamp": TIME, "managedFields": [_managed("labels", 3)]},
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            }
        )

    def pod(self, namespace: str, labels: Labels) -> None:
        self.pods.append((namespace, labels))

    def policy(
        self,
        namespace: str,
        name: str,
        applied: Labels,
        ingress: Document | None = None,
        egress: Document | None = None,
    ) -> None:
        """``ingress`` and ``egress``: the peer of the one rule of that direction."""
        spec: Document = {"podSelector": _selector(applied), "policyTypes": ["Ingress", "Egress"]}
        if ingress is not None:
            spec["ingress"] = [{"from": [ingress]}]
        if egress is not None:
            spec["egress"] = [{"to": [egress]}]
        metadata = {"name": name, "namespace": namespace, "uid": self.uid(), "resourceVersion": "300"}
        self.policies.append(
            {
                "metadata": {
                    **metadata,
                    "generation": 1,
                    "creationTimestamp": TIME,
                    "managedFields": [_managed("spec", 4)],
                },
                "spec": spec,
            }
        )

    def raw_pods(self) -> Iterator[bytes]:
        """The Pods as JSON text. All have the same bulk; what differs is put into it."""
        before, after = _pod_text()
        for number, (namespace, labels) in enumerate(self.pods):
            address = ".".join(str(self.random.randrange(256)) for _ in range(4))
            head = {
                "name": f"pod-{number}",
                "namespace": namespace,
                "uid": self.uid(),
                "resourceVersion": str(1000 + number),
                "creationTimestamp": TIME,
                "labels": labels,
            }
            parts = before.replace("@META@", json.dumps(head, separators=(",", ":"))[1:-1])
            tail = after.replace("@NODE@", f"Node-{self.random.randrange(NODES)}").replace("@IP@", address)
            yield (parts + tail).encode()


TIME = "2026-01-01T00:00:00Z"


def _selector(labels: Labels) -> Document:
    return {"matchLabels": labels} if labels else {}


def _managed(field: str, size: int) -> Document:
    entries: Document = {f"f:entry-{number}": {".": {}, "f:value": {}} for number in range(size)}
    return {
        "manager": "kube-controller-manager",
        "operation": "Update",
        "apiVersion": "v1",
        "time": TIME,
        "fieldsType": "FieldsV1",
        "fieldsV1": {f"f:{field}": entries},
    }


def _pod_text() -> tuple[str, str]:
    """A Pod's JSON as a running cluster shows it, in two halves with places to fill in."""
    token = "kube-api-access-x7k2p"
    pod = {
        "metadata": {"@META@": "", "managedFields": [_managed("spec", 14), _managed("status", 14)]},
        "spec": {
            "volumes": [
                {
                    "name": token,
                    "projected": {
                        "sources": [
                            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                            {
                                "configMap": {
                                    "name": "kube-root-ca.crt",
                                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                                }
                            },
                        ],
                        "defaultMode": 420,
                    },
                }
            ],
            "containers": [
                {
                    "name": "app",
                    "image": "registry.invalid/team/app:1.2.3",
                    "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}},
                    "volumeMounts": [
                        {
                            "name": token,
                            "readOnly": True,
                            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                        }
                    ],
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File",
                    "imagePullPolicy": "IfNotPresent",
                }
            ],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default",
            "serviceAccount": "default",
            "nodeName": "@NODE@",
            "securityContext": {},
            "schedulerName": "default-scheduler",
            "tolerations": [
                {
                    "key": f"node.kubernetes.io/{reason}",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                }
                for reason in ("not-ready", "unreachable")
            ],
            "priority": 0,
            "enableServiceLinks": True,
            "preemptionPolicy": "PreemptLowerPriority",
        },
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": TIME}
                for kind in (
                    "PodReadyToStartContainers",
                    "Initialized",
                    "Ready",
                    "ContainersReady",
                    "PodScheduled",
                )
            ],
            "hostIP": "192.0.2.10",
            "podIP": "@IP@",
            "podIPs": [{"ip": "@IP@"}],
            "startTime": TIME,
            "containerStatuses": [
                {
                    "name": "app",
                    "state": {"running": {"startedAt": TIME}},
                    "lastState": {},
                    "ready": True,
                    "restartCount": 0,
                    "image": "registry.invalid/team/app:1.2.3",
                    "imageID": "registry.invalid/team/app@sha256:" + "0" * 64,
                    "containerID": "containerd://" + "0" * 64,
                    "started": True,
                }
            ],
            "qosClass": "Burstable",
        },
    }
    text = json.dumps(pod, separators=(",", ":")).replace('"@META@":""', "@META@")
    assert len(text) > 3000
    half = text.index('"spec":{"volumes"')
    return text[:half], text[half:]


# --- the six shapes -------------------------------------------------------------------------------------


def small_namespaces(cluster: Cluster, count: int = 25_000) -> None:
    for _ in range(count):
        name = cluster.word()
        cluster.namespace(name, {"app": name})
        for app in ("1", "2"):
            labels = {f"app-{app}": f"scale-{app}"}
            cluster.pod(name, labels)
            cluster.pod(name, labels)
        cluster.policy(name, "default-deny-all", {})
        for app in ("1", "2"):
            labels = {f"app-{app}": f"scale-{app}"}
            cluster.policy(name, f"np-{app}", labels, ingress={"podSelector": _selector(labels)})


def large_namespaces(cluster: Cluster) -> None:
    for _ in range(100):
        name = cluster.word()
        cluster.namespace(name, {"app": name})
        cluster.policy(name, "default-deny-all", {})
        for number in range(100):
            labels = {f"app-{number}": f"scale-{number}"}
            for _ in range(10):
                cluster.pod(name, labels)
            cluster.policy(name, f"np-{number}", labels, ingress={"podSelector": _selector(labels)})


def one_namespace(cluster: Cluster) -> None:
    name, labels = cluster.word(), {"app-1": "scale-1"}
    cluster.namespace(name, {"app": name})
    for number in range(10_000):
        cluster.pod(name, labels)
        cluster.policy(name, f"np-{number}", labels, ingress={"podSelector": _selector(labels)})


def policy_per_pod(cluster: Cluster) -> None:
    name = cluster.word()
    cluster.namespace(name, {"app": name})
    for number in range(5_000):
        one, two = {"app": f"scale-{cluster.word()}"}, {"app": f"scale-{cluster.word()}"}
        cluster.pod(name, one)
        cluster.pod(name, two)
        cluster.policy(name, f"np-{number}-a", one, ingress={"podSelector": _selector(two)})
        cluster.policy(name, f"np-{number}-b", two, egress={"podSelector": _selector(one)})


def cluster_scoped(cluster: Cluster) -> None:
    for number in range(1_000):
        company = f"company-{number % 100}"
        name = f"{company}-{cluster.word()}"
        cluster.namespace(name, {"company": company})
        for each in range(10):
            labels = {"app": f"scale-{each}"}
            for _ in range(10):
                cluster.pod(name, labels)
            peer = {"podSelector": _selector(labels), "namespaceSelector": _selector({"company": company})}
            cluster.policy(name, f"np-{each}", labels, ingress=peer)


Shape = Callable[[Cluster], None]

SHAPES: dict[str, Shape | None] = {
    "25k namespaces, 100k pods, 75k policies": small_namespaces,
    "100 namespaces, 100k pods, 10.1k policies": large_namespaces,
    "1 namespace, 10k pods × 10k policies": one_namespace,
    "a policy per pod, 10k": policy_per_pod,
    "a policy per external entity, 10k": None,  # waits for external entities
    "1k namespaces, 100k pods, 10k policies, cluster-scoped peers": cluster_scoped,
}


# --- files ----------------------------------------------------------------------------------------------


def write(shape: Shape, directory: Path) -> None:
    """Generate a shape into a directory."""
    cluster = Cluster()
    shape(cluster)
    texts: dict[str, Iterable[bytes]] = {
        "namespaces": (json.dumps(each, separators=(",", ":")).encode() for each in cluster.namespaces),
        "pods": cluster.raw_pods(),
        "networkpolicies": (json.dumps(each, separators=(",", ":")).encode() for each in cluster.policies),
    }
    directory.mkdir(parents=True)
    for kind in KINDS:
        with (directory / kind).open("wb") as file:
            page: list[bytes] = []
            for each in texts[kind]:
                page.append(each)
                if len(page) == PAGE:
                    _write_page(file, page)
                    page = []
            if page:
                _write_page(file, page)


def _write_page(file: Any, items: list[bytes]) -> None:
    body = b'{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"5000"},"items":['
    body += b",".join(items) + b"]}"
    file.write(len(body).to_bytes(8, "big") + body)


def pages(directory: Path, kind: str) -> Iterator[bytes]:
    """The pages of a kind, one at a time."""
    with (directory / kind).open("rb") as file:
        while head := file.read(8):
            yield file.read(int.from_bytes(head, "big"))
