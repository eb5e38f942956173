"""A kubelet of one node for Pods on the host's network: what a Pod's specification says, its processes get.

It works inside a mount and a network namespace of its own, which are the node. A container is a process in a
copy-on-write view of this machine's file system with the Pod's volumes mounted: ConfigMaps, Secrets,
emptyDirs, the ServiceAccount's token, and host paths below a directory that stands for the node's. Its
environment holds the specification's variables and nothing else. Read-only roots and dropped capabilities
are real.

It stands in for a container runtime, not for the image: commands come from this checkout's environment.
"""

from __future__ import annotations

import base64
import os
import shlex
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from client.errors import ApiError
from client.resources import CONFIG_MAPS, PODS, SECRETS
from tests.kubernetes.cluster import Cluster

ROOT = Path(__file__).parents[2]
INTERPRETER = Path(os.path.realpath(sys.executable)).parents[1]
REAL = ("/proc", "/lib/modules", "/var/run/netns")  # host paths that are this machine's own
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"

Document = dict[str, Any]


class Kubelet:
    def __init__(self, cluster: Cluster, directory: Path, node: str, address: str) -> None:
        self.cluster, self.directory, self.node, self.address = cluster, directory, node, address
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._roots: list[Path] = []

    # -- Pods --------------------------------------------------------------------------------------------
    async def run(self, pod: Document) -> None:
        """Bind the Pod to this node and start its containers. The init containers must succeed."""
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        target = {"apiVersion": "v1", "kind": "Node", "name": self.node}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        await self.cluster.kube.create(PODS.path(name, namespace, "binding"), binding)
        pod["spec"]["nodeName"] = self.node
        for container in pod["spec"].get("initContainers", ()):
            process = await self._start(pod, container)
            if process.wait(120) != 0:
                raise AssertionError(f"{container['name']} failed: {self.log(name, container['name'])}")
        for container in pod["spec"]["containers"]:
            self.processes[f"{name}/{container['name']}"] = await self._start(pod, container)

    async def report_ready(self, pod: Document) -> None:
        status = {
            "phase": "Running", "hostIP": self.address,
            "podIP": self.address, "podIPs": [{"ip": self.address}],
            "conditions": [{"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady")],
        }  # fmt: skip
        path = PODS.path(pod["metadata"]["name"], pod["metadata"]["namespace"], "status")
        await self.cluster.kube.patch(path, {"status": status})

    def probe(self, container: Document, kind: str) -> bool:
        """Whether the container's liveness or readiness probe succeeds now (httpGet to localhost)."""
        get = container[f"{kind}Probe"]["httpGet"]
        port = next(p["containerPort"] for p in container["ports"] if p["name"] == get["port"])
        url = f"{get['scheme'].lower()}://{get['host']}:{port}{get['path']}"
        try:
            # kubelet does not verify certificates of probes either.
            with urllib.request.urlopen(url, timeout=5, context=ssl._create_unverified_context()) as answer:
                return 200 <= answer.status < 400
        except OSError:
            return False

    def log(self, pod: str, container: str) -> str:
        return (self.directory / f"{pod}.{container}.log").read_text(errors="replace")[-4000:]

    def end(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for name, process in self.processes.items():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                raise AssertionError(f"{name} did not end within 10 s of SIGTERM") from None

    # -- containers --------------------------------------------------------------------------------------
    async def _start(self, pod: Document, container: Document) -> subprocess.Popen[bytes]:
        name = f"{pod['metadata']['name']}.{container['name']}"
        root = self.directory / "roots" / name
        script = [*self._overlay(root), *await self._volumes(pod, container, root)]
        # Last, because a checkout may be below /tmp, which volumes are mounted over.
        script += _bound(root, str(ROOT), str(INTERPRETER))
        context = container.get("securityContext", {})
        if context.get("readOnlyRootFilesystem"):
            script.append(f"mount -o remount,ro {root}")
        drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
        dropped = "ALL" in context.get("capabilities", {}).get("drop", ())
        words = [*(drop if dropped else []), *container["command"], *container.get("args", ())]
        environment = [f"{key}={value}" for key, value in (await self._environment(pod, container)).items()]
        script.append(shlex.join(["exec", "chroot", str(root), "env", "-i", *environment, *words]))
        return self._spawn(name, "\n".join(script))

    def _spawn(self, name: str, script: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                ["unshare", "--mount", "--propagation", "slave", "sh", "-ec", script],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def _overlay(self, root: Path) -> list[str]:
        """This machine's file system, with everything that is written going elsewhere: ``directory`` is on a
        tmpfs, because an overlay must not lie in what it shows."""
        upper, work = (self.directory / kind / root.name for kind in ("upper", "work"))
        for path in (root, upper, work):
            path.mkdir(parents=True, exist_ok=True)
        lines = [
            f"mount -t overlay overlay -o lowerdir=/,upperdir={upper},workdir={work} {root}",
            f"mkdir -p {root}/tmp && mount -t tmpfs tmpfs {root}/tmp",
        ]
        return [*lines, *_bound(root, "/proc", "/sys", "/dev"), f"mkdir -p {_inside(root, TOKEN)}"]

    async def _volumes(self, pod: Document, container: Document, root: Path) -> list[str]:
        token = await self._token(pod)
        lines = [f"mount --bind {token} {_inside(root, TOKEN)}"]
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
        # The deepest last: one mount may be inside another.
        for mount in sorted(container.get("volumeMounts", ()), key=lambda mount: len(mount["mountPath"])):
            if mount["mountPath"] == TOKEN:
                continue
            source = await self._volume(pod, volumes[mount["name"]])
            if "subPath" in mount:
                source = source / mount["subPath"]
                if not source.exists():
                    source.mkdir(parents=True)
            target = _inside(root, mount["mountPath"])
            make = (
                f"mkdir -p {target}" if source.is_dir() else f"mkdir -p $(dirname {target}) && touch {target}"
            )
            lines += [make, f"mount --rbind {source} {target}"]
            if mount.get("readOnly") and str(source) not in REAL:
                lines.append(f"mount -o remount,ro,bind {target}")
        return lines

    async def _volume(self, pod: Document, volume: Document) -> Path:
        folder = self.directory / "volumes" / pod["metadata"]["name"] / volume["name"]
        namespace = pod["metadata"]["namespace"]
        if "hostPath" in volume:
            path, kind = volume["hostPath"]["path"], volume["hostPath"].get("type", "")
            return self._host_path(path, kind)
        folder.mkdir(parents=True, exist_ok=True)
        if "configMap" in volume:
            document = await self.cluster.get(CONFIG_MAPS.path(volume["configMap"]["name"], namespace))
            for key, text in document["data"].items():
                (folder / key).write_text(text)
        elif "secret" in volume:
            try:
                document = await self.cluster.get(SECRETS.path(volume["secret"]["secretName"], namespace))
            except ApiError as error:
                if error.status != 404 or not volume["secret"].get("optional"):
                    raise
                document = {}
            for key, text in document.get("data", {}).items():
                (folder / key).write_bytes(base64.b64decode(text))
        else:
            assert "emptyDir" in volume, f"a volume of this kind is not known: {volume}"
        return folder

    def _host_path(self, path: str, kind: str) -> Path:
        if path in REAL and os.path.isdir(path):
            return Path(path)
        place = self.directory / "host" / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if kind == "FileOrCreate":
            place.touch()
        else:
            place.mkdir(exist_ok=True)
        return place

    async def _token(self, pod: Document) -> Path:
        folder = self.directory / "tokens" / pod["metadata"]["name"]
        folder.mkdir(parents=True, exist_ok=True)
        namespace, account = pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"]
        (folder / "token").write_text(await self.cluster.token(namespace, account))
        (folder / "namespace").write_text(namespace)
        (folder / "ca.crt").write_bytes((self.cluster.pki / "ca.crt").read_bytes())
        return folder

    async def _environment(self, pod: Document, container: Document) -> dict[str, str]:
        environment = {
            "PATH": f"{Path(sys.prefix, 'bin')}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOSTNAME": self.node,
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.cluster.port),
        }
        for variable in container.get("env", ()):
            value: Any = variable.get("value", "")
            if "valueFrom" in variable:
                value = pod
                for key in variable["valueFrom"]["fieldRef"]["fieldPath"].split("."):
                    value = value[key]
            environment[variable["name"]] = str(value)
        return environment


def _bound(root: Path, *paths: str) -> list[str]:
    """Commands that show the same directories inside; an overlay shows one file system only."""
    return [f"mkdir -p {root}{path} && mount --rbind {path} {root}{path}" for path in paths]


def _inside(root: Path, path: str) -> str:
    """A container's path as seen from outside. Its links (/var/run) must not lead out of the root."""
    return f"{root}{os.path.realpath(path)}"
