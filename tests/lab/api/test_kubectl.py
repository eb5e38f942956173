"""The ordinary kubectl against the API, as a person types it. Skipped where there is no kubectl."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.lab.api.process import LabApi, eventually

pytestmark = pytest.mark.skipif(
    shutil.which("kubectl") is None,
    reason="there is no kubectl on this machine: these tests drive the real one",
)
Kubectl = Callable[..., str]
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from:
    - podSelector: {matchLabels: {app: client}}
    ports:
    - {protocol: TCP, port: 80}
"""


class Failed(Exception):
    pass


@pytest.fixture
def kubectl(api: LabApi, tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> Kubectl:
    """Runs kubectl in a namespace of the test's own; ``stdin`` is what -f - reads. Raises Failed."""
    namespace = re.sub("[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[:60].strip("-")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "KUBECONFIG": str(api.state / "kubeconfig"),
    }

    def run(*arguments: str, stdin: str = "", **more: str) -> str:
        result = subprocess.run(
            ["kubectl", f"--namespace={namespace}", *arguments],
            env=environment | more,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if result.returncode:
            raise Failed(result.stdout + result.stderr)
        return result.stdout

    run("create", "namespace", namespace)
    eventually(lambda: api.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/default").status == 200)
    run.namespace = namespace  # type: ignore[attr-defined]
    return run


def heads(table: str) -> list[str]:
    return re.split(r"\s{2,}", table.splitlines()[0].strip())


def test_create_get_delete(kubectl: Kubectl) -> None:
    assert kubectl("create", "-f", "-", stdin=POLICY) == "networkpolicy.networking.k8s.io/web created\n"
    lines = kubectl("get", "netpol").splitlines()
    assert lines[0].split() == ["NAME", "POD-SELECTOR", "AGE"]
    assert lines[1].split()[:2] == ["web", "app=web"]
    assert json.loads(kubectl("get", "netpol", "web", "-o", "json"))["spec"]["policyTypes"] == ["Ingress"]
    assert "policyTypes:\n  - Ingress\n" in kubectl("get", "netpol", "web", "-o", "yaml")
    assert kubectl("get", "netpol", "-o", "name") == "networkpolicy.networking.k8s.io/web\n"
    assert 'networkpolicy.networking.k8s.io "web" deleted' in kubectl("delete", "netpol", "web")
    with pytest.raises(Failed, match=r'networkpolicies\.networking\.k8s\.io "web" not found'):
        kubectl("get", "netpol", "web")


def test_wide_columns(kubectl: Kubectl) -> None:
    kubectl("run", "p", "--image=web", "--port=80", "--labels=app=web")
    eventually(
        lambda: "n1" in kubectl("get", "pods", "-o", "wide") or "n2" in kubectl("get", "pods", "-o", "wide")
    )
    assert heads(kubectl("get", "pods", "-o", "wide")) == [
        "NAME",
        "READY",
        "STATUS",
        "RESTARTS",
        "AGE",
        "IP",
        "NODE",
        "NOMINATED NODE",
        "READINESS GATES",
    ]
    assert heads(kubectl("get", "nodes", "-o", "wide"))[-5:] == [
        "INTERNAL-IP",
        "EXTERNAL-IP",
        "OS-IMAGE",
        "KERNEL-VERSION",
        "CONTAINER-RUNTIME",
    ]
    assert "Status:" in kubectl("describe", "pod", "p")


def test_apply_and_what_it_leaves_alone(kubectl: Kubectl) -> None:
    assert "created" in kubectl("apply", "-f", "-", stdin=POLICY)
    assert "unchanged" in kubectl("apply", "-f", "-", stdin=POLICY)
    kubectl("label", "netpol", "web", "mine=yes")
    assert "configured" in kubectl("apply", "-f", "-", stdin=POLICY.replace("port: 80", "port: 81"))
    found = json.loads(kubectl("get", "netpol", "web", "-o", "json"))
    assert found["metadata"]["labels"] == {"mine": "yes"}
    assert found["spec"]["ingress"][0]["ports"] == [{"port": 81, "protocol": "TCP"}]
    kubectl(
        "apply",
        "-f",
        "-",
        stdin=POLICY.replace("  ingress:", "  policyTypes: [Egress]\n  egress:").replace("from", "to"),
    )
    assert "ingress" not in json.loads(kubectl("get", "netpol", "web", "-o", "json"))["spec"]


def test_server_side_apply(kubectl: Kubectl) -> None:
    assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", stdin=POLICY)
    other = POLICY.replace("port: 80", "port: 81")
    with pytest.raises(Failed, match=r'conflict with "kubectl": \.spec\.ingress'):
        kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=other)
    kubectl("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", stdin=other)
    assert '"port":81' in kubectl("get", "netpol", "web", "-o", "jsonpath={.spec}")


def test_diff(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=POLICY)
    assert kubectl("diff", "-f", "-", stdin=POLICY) == ""
    with pytest.raises(Failed, match=r"\+ +- port: 81"):
        kubectl("diff", "-f", "-", stdin=POLICY.replace("port: 80", "port: 81"))
    assert '"port":80' in kubectl("get", "netpol", "web", "-o", "jsonpath={.spec}")


def test_label_annotate_patch_edit(kubectl: Kubectl, tmp_path: pathlib.Path) -> None:
    kubectl("create", "-f", "-", stdin=POLICY)
    kubectl("label", "netpol", "web", "a=b")
    kubectl("annotate", "netpol", "web", "c=d")
    kubectl("patch", "netpol", "web", "--type=json", "-p", '[{"op":"remove","path":"/metadata/labels/a"}]')
    kubectl("patch", "netpol", "web", "--type=merge", "-p", '{"metadata":{"labels":{"e":"f"}}}')
    kubectl("patch", "netpol", "web", "-p", '{"metadata":{"labels":{"g":"h"}}}')
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/port: 80/port: 82/' \"$1\"\n")
    editor.chmod(0o755)
    assert "edited" in kubectl("edit", "netpol", "web", EDITOR=str(editor))
    found = json.loads(kubectl("get", "netpol", "web", "-o", "json"))
    assert found["metadata"]["labels"] == {"e": "f", "g": "h"}
    assert found["metadata"]["annotations"] == {"c": "d"}
    assert found["metadata"]["generation"] == 2
    assert found["spec"]["ingress"][0]["ports"][0]["port"] == 82


def test_describe(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=POLICY)
    text = kubectl("describe", "netpol", "web")
    assert "PodSelector:     app=web" in text
    assert "To Port: 80/TCP" in text
    assert "PodSelector: app=client" in text
    assert "Roles:" in kubectl("describe", "node", "n1")
    assert "Status:       Active" in kubectl("describe", "namespace", "default")


def test_watching(kubectl: Kubectl, api: LabApi) -> None:
    namespace = kubectl.namespace  # type: ignore[attr-defined]
    environment = {**os.environ, "KUBECONFIG": str(api.state / "kubeconfig")}
    command = ["kubectl", "-n", namespace, "get", "netpol", "-w", "--no-headers"]
    watching = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert watching.stdout is not None
        time.sleep(0.5)
        kubectl("create", "-f", "-", stdin=POLICY)
        kubectl("patch", "netpol", "web", "--type=merge", "-p", '{"spec":{"podSelector":null}}')
        assert [watching.stdout.readline().split()[:2] for _ in range(2)] == [
            ["web", "app=web"],
            ["web", "<none>"],
        ]
    finally:
        watching.kill()
        watching.wait()


def test_waiting(kubectl: Kubectl, api: LabApi) -> None:
    kubectl("run", "p", "--image=x")
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/p"  # type: ignore[attr-defined]
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    api.merge(f"{path}/status", {"status": ready})
    assert "condition met" in kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=10s")
    kubectl("delete", "pod", "p", "--wait=false")
    assert kubectl("get", "pod", "p", "--no-headers").split()[2] == "Terminating"
    api.delete(path, {"gracePeriodSeconds": 0})
    kubectl("wait", "--for=delete", "pod/p", "--timeout=10s")


def test_explain_and_discovery(kubectl: Kubectl) -> None:
    text = kubectl("explain", "networkpolicy.spec.ingress")
    assert "KIND:       NetworkPolicy" in text
    assert "ports" in text
    assert "networking.k8s.io/v1" in kubectl("api-versions").splitlines()
    listed = {line.split()[0] for line in kubectl("api-resources", "--no-headers").splitlines()}
    assert listed >= {
        "pods",
        "namespaces",
        "networkpolicies",
        "customresourcedefinitions",
        "apiservices",
        "leases",
    }


def test_who_may(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "create", "pods") == "yes\n"
    with pytest.raises(Failed, match="no"):
        kubectl("auth", "can-i", "create", "pods", "--as=bob")
    assert "kubernetes-admin" in kubectl("auth", "whoami")
    assert "*.*" in kubectl("auth", "can-i", "--list")
    kubectl("create", "rolebinding", "bobs", "--clusterrole=edit", "--user=bob")
    assert kubectl("auth", "can-i", "create", "pods", "--as=bob") == "yes\n"
    assert kubectl("create", "token", "default").count(".") == 2


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (("create", "configmap", "c", "--from-literal=a=b"), ""),
        (("create", "secret", "generic", "s", "--from-literal=a=b"), ""),
        (("create", "serviceaccount", "sa"), ""),
        (("create", "service", "clusterip", "svc", "--tcp=80:80"), ""),
        (("create", "role", "r", "--verb=get", "--resource=pods"), ""),
        (("create", "-f", "-"), POLICY),
    ],
)
def test_creating(kubectl: Kubectl, arguments: tuple[str, ...], stdin: str) -> None:
    assert "created" in kubectl(*arguments, stdin=stdin)


def test_what_validation_refuses(kubectl: Kubectl) -> None:
    with pytest.raises(Failed, match=r'unknown field "spec\.ingress\[0\]\.ports\[0\]\.prt"'):
        kubectl("create", "-f", "-", stdin=POLICY.replace("port: 80", "prt: 80"))
    with pytest.raises(Failed) as refused:
        kubectl("create", "-f", "-", stdin=POLICY.replace("port: 80", "port: 0"))
    text = 'The NetworkPolicy "web" is invalid: spec.ingress[0].ports[0].port: Invalid value: 0: '
    assert text + "must be between 1 and 65535, inclusive" in str(refused.value)


def test_what_needs_a_kubelet(kubectl: Kubectl, api: LabApi) -> None:
    kubectl("run", "p", "--image=x")
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/p"  # type: ignore[attr-defined]
    api.merge(f"{path}/status", {"status": {"phase": "Running"}})
    for command in (("exec", "p", "--", "ls"), ("logs", "p"), ("port-forward", "p", "18080:80")):
        with pytest.raises(Failed, match="antrea-lab exec"):
            kubectl(*command)


def test_deleting_a_namespace_waits_for_its_end(kubectl: Kubectl, api: LabApi) -> None:
    namespace: Any = kubectl.namespace  # type: ignore[attr-defined]
    kubectl("create", "-f", "-", stdin=POLICY)
    kubectl("delete", "namespace", namespace, "--timeout=20s")
    assert api.get(f"/api/v1/namespaces/{namespace}").status == 404
