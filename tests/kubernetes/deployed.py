"""A cluster of one node that runs what ``kubectl apply -k deploy/`` has put into it, and what came of it.

    unshare --net --mount --propagation private python -m tests.kubernetes.deployed RESULT

kube-apiserver with RBAC and Kubernetes' own controllers make Pods of Deployment and DaemonSet, and endpoints
of the Service; tests.kubernetes.kubelet runs the Pods with the accounts, arguments, environment, probes and
ConfigMap that the manifests give. What is edited, as a user would: the datapath, because the kernel may
lack openvswitch; and one more feature is switched on. RESULT is JSON, for test_deploy.py to look at.
"""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from client.errors import ApiError
from client.resources import AGENT_INFOS, CONFIG_MAPS, CONTROLLER_INFOS, NODES, PODS, SECRETS, TIERS
from tests.kubernetes.cluster import CONTROLLERS, Cluster
from tests.kubernetes.kubelet import Kubelet

ROOT = Path(__file__).parents[2]
NODE, ADDRESS, POD_CIDR = "node-1", "10.88.0.1", "10.89.0.0/24"
WORKLOADS = (
    "deployment-controller",
    "replicaset-controller",
    "daemonset-controller",
    "endpointslice-controller",
)
PATIENCE = 60.0

ON_THE_NODE = (
    "version", "log-level", "get agentinfo", "get podinterface", "get networkpolicy", "get appliedtogroup",
    "get addressgroup", "get ovsflows -T IngressDefaultRule", "get featuregates",
)  # fmt: skip

POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: default}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]
"""
EGRESS = """\
apiVersion: crd.antrea.io/v1alpha2
kind: Egress
metadata: {name: web}
spec: {appliedTo: {}, egressIP: 10.88.0.9, externalIPPool: nowhere}
"""
TRACEFLOW = """\
apiVersion: crd.antrea.io/v1beta1
kind: Traceflow
metadata: {name: web}
spec: {source: {namespace: default, pod: nobody}}
"""


def sh(*words: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=env, cwd=ROOT, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def fetch(request: urllib.request.Request) -> Any:
    # The agent's certificate is new at each start; who wants to verify it finds it in AntreaAgentInfo.
    context = ssl._create_unverified_context()
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:
        return json.loads(answer.read())


def status(url: str) -> int:
    """Of a request without credentials."""
    context = ssl._create_unverified_context()
    try:
        with urllib.request.urlopen(url, timeout=10, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)


def network() -> None:
    """The node's own: loopback, and a link that has its address."""
    sh("ip", "link", "set", "lo", "up")
    sh("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "wire")
    sh("ip", "addr", "add", f"{ADDRESS}/24", "dev", "eth0")
    for link in ("eth0", "wire"):
        sh("ip", "link", "set", link, "up")
    sh("ip", "route", "add", "default", "via", "10.88.0.254", "dev", "eth0")  # kube-apiserver looks for one
    Path("/run/netns").mkdir(exist_ok=True)
    sh("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
    sh("mount", "--make-shared", "/run/netns")  # a container sees the namespaces that come later, too


class Scenario:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.cluster = Cluster(
            directory / "cluster",
            controllers=(*CONTROLLERS, *WORKLOADS),
            arguments=("--enable-aggregator-routing=true",),
        )
        self.kubelet = Kubelet(self.cluster, directory / "node", NODE, ADDRESS)
        self.result: dict[str, Any] = {}

    async def eventually(self, check: Any, what: str) -> Any:
        deadline = time.monotonic() + PATIENCE
        last: object = None
        while True:
            with suppress(ApiError):
                last = await check()
                if last:
                    return last
            for name, process in self.kubelet.processes.items():
                if process.poll() is not None:
                    log = self.kubelet.log(*name.split("/"))
                    raise AssertionError(f"{name} ended with {process.returncode}:\n{log}")
            if time.monotonic() > deadline:
                logs = {name: self.kubelet.log(*name.split("/")) for name in self.kubelet.processes}
                raise AssertionError(f"it is still not so that {what}: {last}\n{json.dumps(logs, indent=1)}")
            await asyncio.sleep(0.1)

    # -- the steps ---------------------------------------------------------------------------------------
    async def run(self) -> None:
        await self.cluster.start()
        await self.register_node()
        first = self.cluster.kubectl("apply", "-k", str(ROOT / "openapi" / "crds")).stdout
        await self.eventually(self.old_tier, "a Tier of an older release is there")
        first += self.cluster.kubectl("apply", "-k", str(ROOT / "deploy")).stdout
        self.result["applied"] = [line for line in first.splitlines() if not line.endswith(" unchanged")]
        again = self.cluster.kubectl("apply", "-k", str(ROOT / "deploy")).stdout
        self.result["applied again"] = again.splitlines()
        await self.edit_configuration()
        controller = await self.started("antrea-controller")
        await self.served(controller)
        await self.started("antrea-agent")
        await self.reported()
        await self.enforced()
        await self.admitted()
        await self.older_agents()
        await self.antctl()
        await self.renewed()
        await self.node_gone()

    async def old_tier(self) -> bool:
        tier = {
            "apiVersion": "crd.antrea.io/v1beta1", "kind": "Tier", "metadata": {"name": "baseline"},
            "spec": {"priority": 200, "description": "from an older release"},
        }  # fmt: skip
        await self.cluster.kube.create(TIERS.path(), tier)
        return True

    async def register_node(self) -> None:
        node = {
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": NODE, "labels": {"kubernetes.io/os": "linux"}},
            "spec": {"podCIDR": POD_CIDR, "podCIDRs": [POD_CIDR]},
        }  # fmt: skip
        await self.cluster.kube.create(NODES.path(), node)
        status = {
            "addresses": [{"type": "InternalIP", "address": ADDRESS}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        await self.cluster.kube.patch(NODES.path(NODE, subresource="status"), {"status": status})

    async def edit_configuration(self) -> None:
        path = CONFIG_MAPS.path("antrea-config", "kube-system")
        data = (await self.cluster.get(path))["data"]
        for name, line, wanted in (
            ("antrea-agent.conf", "#ovsDatapathType: system", "ovsDatapathType: netdev"),
            # One right of the controller is for this feature alone.
            (
                "antrea-controller.conf",
                "#  SupportBundleCollection: false",
                "  SupportBundleCollection: true",
            ),
        ):
            text = data[name].replace(line, wanted)
            assert text != data[name]
            await self.cluster.kube.patch(path, {"data": {name: text}})

    async def started(self, component: str) -> dict[str, Any]:
        """The Pod of a component, running and ready as its probes say."""
        path, query = PODS.path(namespace="kube-system"), {"labelSelector": f"component={component}"}

        async def made() -> Any:
            return (await self.cluster.get(path, **query))["items"]

        pod = (await self.eventually(made, f"Kubernetes makes the Pod of {component}"))[0]
        for container in pod["spec"].get("initContainers", ()):
            # The kernel may have no openvswitch, and containernetworking-plugins is in the image only.
            container.setdefault("env", []).extend(
                [
                    {"name": "SKIP_LOADING_KERNEL_MODULES", "value": "1"},
                    {"name": "SKIP_CNI_BINARIES", "value": "loopback,portmap,bandwidth"},
                ]
            )
        await self.kubelet.run(pod)
        main = next(c for c in pod["spec"]["containers"] if c["name"] == component)

        async def ready() -> bool:
            return all(
                [await asyncio.to_thread(self.kubelet.probe, main, k) for k in ("liveness", "readiness")]
            )

        await self.eventually(ready, f"the probes of {component} succeed")
        await self.kubelet.report_ready(pod)
        return dict(pod)

    async def served(self, controller: dict[str, Any]) -> None:
        self.result["available"] = self.cluster.kubectl(
            "wait", "apiservice", "-l", "app=antrea", "--for=condition=Available", "--timeout=60s"
        ).stdout.splitlines()
        name = "antrea-controller"

        async def told() -> Any:
            return await self.cluster.get(CONTROLLER_INFOS.path(name))

        info = await self.eventually(told, "the controller has reported itself")
        self.result["controller info"] = {
            "pod": info["podRef"]["name"] == controller["metadata"]["name"], "node": info["nodeRef"]["name"],
        }  # fmt: skip

    async def reported(self) -> None:
        async def connected() -> Any:
            info = await self.cluster.get(AGENT_INFOS.path(NODE))
            conditions = {c["type"]: c["status"] for c in info.get("agentConditions", ())}
            return info if conditions and set(conditions.values()) == {"True"} else None

        info = await self.eventually(connected, "the agent has reported itself healthy and connected")
        self.result["agent info"] = {"subnets": info["nodeSubnets"], "node": info["nodeRef"]["name"]}

    async def enforced(self) -> None:
        """A Pod is attached by the plugin that the init container installed, and a policy applies to it."""
        self.cluster.kubectl("apply", "-f", "-", input=POLICY)
        pod = {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
            "spec": {"nodeName": NODE, "containers": [{"name": "web", "image": "web"}]},
        }  # fmt: skip
        await self.cluster.kube.create(PODS.path(namespace="default"), pod)
        sh("ip", "netns", "add", "cni-web")
        host = self.kubelet.directory / "host"
        configuration = json.loads((host / "etc/cni/net.d/10-antrea.conflist").read_text())
        plugin = {**configuration.pop("plugins")[0], **configuration}
        environment = {
            "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "0123456789abcdef",
            "CNI_NETNS": "/var/run/netns/cni-web", "CNI_IFNAME": "eth0", "CNI_PATH": "/opt/cni/bin",
            "CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web",
            "ANTREA_CNI_SOCKET": str(host / "var/run/antrea/cni.sock"),
        }  # fmt: skip

        async def added() -> Any:
            done = await asyncio.to_thread(
                subprocess.run,
                [str(host / "opt/cni/bin/antrea")],
                input=json.dumps(plugin),
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
            )
            answer = json.loads(done.stdout)
            if done.returncode != 0 and answer.get("code") != 11:  # 11: try again later
                raise AssertionError(f"CNI ADD: {done.stdout}")
            return answer if done.returncode == 0 else None

        answer = await self.eventually(added, "the Pod is attached")
        address = answer["ips"][0]["address"].split("/")[0]
        self.result["pod address"] = address
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        await self.cluster.kube.patch(PODS.path("web", "default", "status"), {"status": status})

        async def dropped() -> bool:
            flows = await asyncio.to_thread(
                sh, "ovs-ofctl", "-OOpenFlow15", "--no-stats", "--names", "dump-flows",
                f"unix:{host}/var/run/antrea/openvswitch/br-int.mgmt", "table=IngressDefaultRule",
            )  # fmt: skip
            return "actions=drop" in flows

        await self.eventually(dropped, "the policy isolates the Pod in Open vSwitch")

    async def admitted(self) -> None:
        """Writes about which webhooks ask the cluster."""
        refused = []
        for manifest in (EGRESS, TRACEFLOW):
            done = self.cluster.kubectl("create", "-f", "-", input=manifest, check=False)
            refused.append(done.stderr.strip().rpartition("denied the request: ")[2])
        self.result["refused"] = refused

    async def older_agents(self) -> None:
        """What agents of Antrea ask for: a watch for each resource, and to be told the statistics."""
        account = await self.cluster.account("antrea-agent")
        for resource in ("networkpolicies", "appliedtogroups", "addressgroups", "egressgroups"):
            query = f"watch=true&timeoutSeconds=1&fieldSelector=nodeName%3D{NODE}"
            path = f"/apis/controlplane.antrea.io/v1beta2/{resource}?{query}"
            assert '"BOOKMARK"' in self.cluster.kubectl("get", "--raw", path, kubeconfig=account).stdout
        summary = {
            "apiVersion": "controlplane.antrea.io/v1beta2", "kind": "NodeStatsSummary",
            "metadata": {"name": NODE},
        }  # fmt: skip
        path = "/apis/controlplane.antrea.io/v1beta2/nodestatssummaries"
        text = json.dumps(summary)
        self.cluster.kubectl("create", "--raw", path, "-f", "-", input=text, kubeconfig=account)

    async def antctl(self) -> None:
        answer = self.cluster.kubectl("get", "networkpolicies.controlplane.antrea.io", "-o", "json").stdout
        self.result["policies"] = [item["sourceRef"]["name"] for item in json.loads(answer)["items"]]
        # Straight to the controller, and to the agent's own API with a user's token.
        token = {"KUBECONFIG": str(await self.cluster.account("antctl")), "PATH": "/usr/bin:/bin"}
        for words in (["version"], ["get", "featuregates"], ["get", "networkpolicy"]):
            command = [sys.executable, "-m", "antctl.main", *words]
            self.result[f"antctl {' '.join(words)}"] = await asyncio.to_thread(sh, *command, env=token)
        bearer = {"Authorization": f"Bearer {await self.cluster.token('kube-system', 'antctl')}"}
        request = urllib.request.Request("https://127.0.0.1:10350/agentinfo", headers=bearer)
        self.result["agent's own API"] = (await asyncio.to_thread(fetch, request))["nodeRef"]["name"]
        await self.antctl_on_the_node()
        await self.antctl_through_its_proxy()

    async def antctl_on_the_node(self) -> None:
        """As in the agent's Pod: with the token that the agent has written there."""
        variables = {
            "POD_NAME": "antrea-agent-x", "PATH": "/usr/bin:/bin",
            "ANTREA_RUN_DIR": str(self.kubelet.directory / "host/var/run/antrea"),
        }  # fmt: skip
        self.result["antctl on the node"] = {
            words: await asyncio.to_thread(
                sh, sys.executable, "-m", "antctl.main", *words.split(), env=variables
            )
            for words in ON_THE_NODE
        }

    async def antctl_through_its_proxy(self) -> None:
        """From elsewhere to the agent, at the Node's address; beside it, somebody without credentials."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "antctl.main", "proxy", "-p", "0", "--agent-node", NODE,
            env={"KUBECONFIG": str(self.cluster.kubeconfig), "PATH": "/usr/bin:/bin"}, cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            address = (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode().split()[-1]
            request = urllib.request.Request(f"http://{address}/podinterfaces")
            found = await asyncio.to_thread(fetch, request)
            self.result["antctl proxy"] = [pod["name"] for pod in found]
        finally:
            process.terminate()
            await process.wait()
        self.result["strangers"] = {
            path: await asyncio.to_thread(status, f"https://{ADDRESS}:10350{path}")
            for path in ("/healthz", "/agentinfo", "/version", "/metrics")
        }

    async def renewed(self) -> None:
        """What was published is put back: the ConfigMap that somebody deletes, the certificate as well."""
        kube = self.cluster.kube
        path = CONFIG_MAPS.path("antrea-ca", "kube-system")
        await kube.delete(path)

        async def back() -> Any:
            return (await self.cluster.get(path))["data"]["ca.crt"]

        before = await self.eventually(back, "the ConfigMap antrea-ca is back")
        for name, process in self.kubelet.processes.items():
            if name.startswith("antrea-controller"):
                process.send_signal(signal.SIGHUP)

        async def rotated() -> bool:
            return str((await self.cluster.get(path))["data"]["ca.crt"]) != before

        await self.eventually(rotated, "SIGHUP has brought a new certificate")
        self.result["secret"] = sorted(
            (await self.cluster.get(SECRETS.path("antrea-controller-tls", "kube-system")))["data"]
        )

    async def node_gone(self) -> None:
        """The last thing: a Node that leaves takes its AntreaAgentInfo along."""
        for name in [n for n in self.kubelet.processes if not n.startswith("antrea-controller")]:
            process = self.kubelet.processes.pop(name)
            process.terminate()
            process.wait(20)
        await self.cluster.kube.delete(NODES.path(NODE))

        async def gone() -> bool:
            return not (await self.cluster.get(AGENT_INFOS.path()))["items"]

        await self.eventually(gone, "the AntreaAgentInfo of the Node is gone")

    def evidence(self) -> None:
        """What the audit log says of the accounts: refused requests, and everything that was asked."""
        for component in ("antrea-controller", "antrea-agent"):
            user = f"system:serviceaccount:kube-system:{component}"
            self.result[f"{component} forbidden"] = self.cluster.forbidden(user)
            self.result[f"{component} used"] = sorted(set(self.used(user)))
            found = []
            for words in (["clusterrole", component], ["role", component, "-n", "kube-system"]):
                text = self.cluster.kubectl("get", *words, "-o", "json", "--ignore-not-found").stdout
                found += json.loads(text)["rules"] if text else []
            self.result[f"{component} rules"] = found

    def used(self, user: str) -> list[str]:
        """``verb group/resource name`` or ``verb /path`` of each request of a user, and of those about
        which the aggregated API asks."""
        found = []
        for event in self.cluster.audit():
            reference = event.get("objectRef", {})
            if event.get("user", {}).get("username") == user and "resource" in reference:
                found.append(_line(event["verb"], reference))
            spec = event.get("requestObject", {}).get("spec", {})
            if reference.get("resource") == "subjectaccessreviews" and spec.get("user") == user:
                if "resourceAttributes" in spec:
                    attributes = spec["resourceAttributes"]
                    found.append(
                        _line(attributes["verb"], {"apiGroup": attributes.get("group", ""), **attributes})
                    )
                else:
                    found.append("{verb} {path}".format(**spec["nonResourceAttributes"]))
        return found


def _line(verb: str, reference: dict[str, str]) -> str:
    resource = reference["resource"]
    if reference.get("subresource"):
        resource += "/" + reference["subresource"]
    return f"{verb} {reference.get('apiGroup', '')}/{resource} {reference.get('name', '')}".rstrip()


async def main(directory: Path) -> dict[str, Any]:
    scenario = Scenario(directory)
    try:
        await scenario.run()
        scenario.evidence()
    finally:
        try:
            scenario.kubelet.end()
        finally:
            await scenario.cluster.stop()
    return scenario.result


if __name__ == "__main__":
    network()
    sh("mount", "-t", "tmpfs", "tmpfs", "/mnt")  # the node's files, in this mount namespace only
    Path(sys.argv[1]).write_text(json.dumps(asyncio.run(main(Path("/mnt"))), indent=1))
