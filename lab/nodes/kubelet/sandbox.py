"""A pod's network namespace and its attachment through the CNI plugin, with a record on disk of each.

The record is written before anything is made and removed after everything is gone, so that a kubelet that
is killed half-way knows at its next start what to take down. The namespace itself is also in the node's
journal, for ``antrea-lab down``.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.directory import write_atomically
from lab.errors import LabError
from lab.journal import Journal
from lab.nodes import netns
from lab.nodes.kubelet.config import KubeletConfig

CNI_TIMEOUT = 60.0


@dataclass
class Sandbox:
    uid: str
    namespace: str
    name: str
    container_id: str
    netns: str  # the name below /run/netns; the node's own for a hostNetwork pod
    host_network: bool
    ips: list[str] = field(default_factory=list)  # empty until the plugin has answered
    result: dict[str, Any] | None = None  # what CNI ADD returned: DEL wants it back
    restarts: int = 0
    created: float = field(default_factory=time.time)
    alive: bool = False  # the responder was started and its end was not noted yet
    last_exit: int | None = None
    started: float = 0.0  # when the responder was last started

    @property
    def netns_path(self) -> str:
        return str(netns.path_of(self.netns))


class CniError(LabError):
    """The plugin refused; ``code`` is CNI's (11: try again later)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Sandboxes:
    """All sandboxes of the node, by the uid of their pod."""

    def __init__(self, config: KubeletConfig) -> None:
        self._config = config
        self._journal = Journal(Path(config.journal))
        self._journal.compact()
        config.sandboxes.mkdir(parents=True, exist_ok=True)

    def load(self) -> dict[str, Sandbox]:
        """What a predecessor left."""
        found = {}
        for path in self._config.sandboxes.glob("*.json"):
            try:
                sandbox = Sandbox(**json.loads(path.read_text()))
            except (ValueError, TypeError):
                path.unlink()
                continue
            found[sandbox.uid] = sandbox
        return found

    def new(self, uid: str, namespace: str, name: str, host_network: bool) -> Sandbox:
        container_id = secrets.token_hex(32)
        readable = re.sub(r"[^a-z0-9.-]", "-", name)[:40]
        own = f"{self._config.lab}-pod-{readable}-{container_id[:8]}"
        sandbox = Sandbox(
            uid, namespace, name, container_id, self._config.netns if host_network else own, host_network
        )
        self.save(sandbox)
        return sandbox

    def save(self, sandbox: Sandbox) -> None:
        write_atomically(self._config.sandboxes / f"{sandbox.uid}.json", json.dumps(asdict(sandbox)))

    async def set_up(self, sandbox: Sandbox) -> None:
        """Namespace and CNI ADD; fills in ips. Raises CniError or LabError, with everything undone."""
        if sandbox.host_network:
            sandbox.ips = list(self._config.addresses)
            self.save(sandbox)
            return
        await netns.make(sandbox.netns, self._journal)
        try:
            sandbox.result = await self._plugin("ADD", sandbox)
            sandbox.ips = [entry["address"].partition("/")[0] for entry in sandbox.result.get("ips", [])]
            if not sandbox.ips:
                raise LabError("the CNI plugin gave the pod no address")
        except BaseException:
            await asyncio.shield(self.tear_down(sandbox))
            raise
        self.save(sandbox)

    async def tear_down(self, sandbox: Sandbox) -> None:
        """CNI DEL, then the namespace, then the record. Raises CniError if the plugin refuses: try again."""
        if not sandbox.host_network:
            await self._plugin("DEL", sandbox)
            await netns.remove(sandbox.netns, self._journal)
        (self._config.sandboxes / f"{sandbox.uid}.json").unlink(missing_ok=True)

    async def _plugin(self, command: str, sandbox: Sandbox) -> dict[str, Any]:
        environment = {
            **os.environ,
            **self._config.cni_environment,
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": sandbox.container_id,
            "CNI_NETNS": sandbox.netns_path,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/opt/cni/bin",
            "CNI_ARGS": ";".join(
                (
                    "IgnoreUnknown=1",
                    f"K8S_POD_NAMESPACE={sandbox.namespace}",
                    f"K8S_POD_NAME={sandbox.name}",
                    f"K8S_POD_INFRA_CONTAINER_ID={sandbox.container_id}",
                    f"K8S_POD_UID={sandbox.uid}",
                )
            ),
        }
        configuration = json.loads(self._config.cni_config)
        if command == "DEL" and sandbox.result is not None:
            configuration["prevResult"] = sandbox.result
        process = await asyncio.create_subprocess_exec(
            *self._config.cni_command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        try:
            out, err = await asyncio.wait_for(
                process.communicate(json.dumps(configuration).encode()), CNI_TIMEOUT
            )
        except TimeoutError:
            raise CniError(11, f"the CNI plugin did not end within {CNI_TIMEOUT:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        try:
            answer = json.loads(out) if out.strip() else {}
        except ValueError:
            answer = {"code": 999, "msg": f"no JSON from the plugin: {out[:200]!r} {err[:500]!r}"}
        if process.returncode or "code" in answer:
            text = " ".join(str(answer.get(key, "")) for key in ("msg", "details")).strip()
            raise CniError(
                int(answer.get("code") or 999),
                f"CNI {command} failed: {text or err.decode(errors='replace').strip() or 'without a word'}",
            )
        return dict(answer)
