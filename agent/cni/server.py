"""The agent's side of CNI: upstream's gRPC service on a unix socket (Antrea v2.7, cni.v1beta1).

Errors travel inside the response, so that a plugin without a gRPC library can read them. A request is carried
out to its end even when the plugin that sent it has been killed: half a DEL is worse than one nobody awaits.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from agent.cni import v1beta1_pb2 as pb
from agent.cni.attach import PodAttacher
from agent.cni.errors import (
    CONFIG_INTERFACE_FAILURE,
    INVALID_NETWORK_CONFIG,
    TRY_AGAIN_LATER,
    CNIError,
)
from agent.cni.locks import KeyedLocks
from agent.cni.pods import LocalPod
from agent.cni.previous import previous_result
from agent.cni.requests import NetworkConfig, Request, decode_request
from agent.cni.results import add_result
from agent.interfaces import InterfaceStore
from runtime import log

logger = log.get(__name__)

SERVICE = "antrea_io.antrea.pkg.apis.cni.v1beta1.Cni"
NETWORK_WAIT = 30.0  # seconds that ADD waits for a starting agent (Antrea v2.7)
CONCURRENT_REQUESTS = 256
PLUGIN_NOT_AVAILABLE = 50  # CNI specification 1.1, STATUS
SHUTDOWN_GRACE = 1.0  # seconds, for requests to end by themselves, and again for cutting them off


class CNIServer:
    """``restore`` before ``start``; requests wait until ``ready`` is set (flows and policies in place);
    ``discard_stale`` when the flows of earlier agents that nobody wants any more have been removed."""

    def __init__(
        self,
        socket_path: str | Path,
        attacher: PodAttacher,
        interfaces: InterfaceStore,
        *,
        netns_prefix: str = "",
        network_wait: float = NETWORK_WAIT,
    ) -> None:
        """``netns_prefix`` stands before every CNI_NETNS (hostProcPathPrefix: the host's root)."""
        self.socket_path = Path(socket_path)
        self.ready = asyncio.Event()
        self._attacher = attacher
        self._interfaces = interfaces
        self._netns_prefix = netns_prefix.rstrip("/")
        self._network_wait = network_wait
        self._locks = KeyedLocks()
        self._running: set[asyncio.Task[pb.CniCmdResponse]] = set()
        self._server: grpc.aio.Server | None = None

    async def restore(self, pods: Collection[LocalPod] | None) -> None:
        """See ``PodAttacher.restore``."""
        await self._attacher.restore(pods)

    async def discard_stale(self) -> None:
        """Detach what ``restore`` found to be stale: once no flow of an earlier agent is left in OVS.

        Until then such an interface keeps its port number and address, so that no new pod inherits flows.
        """
        for interface in list(self._attacher.stale.values()):
            try:
                async with self._locks.hold(interface.container_id):
                    await self._attacher.discard(interface)
            except (CNIError, OSError) as error:
                logger.warning("%s", error)

    async def start(self) -> None:
        """Open the socket. Raises OSError."""
        self.socket_path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            self.socket_path.unlink()
        server = grpc.aio.server(
            maximum_concurrent_rpcs=CONCURRENT_REQUESTS, options=[("grpc.so_reuseport", 0)]
        )
        commands: dict[str, tuple[str, Callable[[Request], Awaitable[bytes]]]] = {
            "CmdAdd": ("ADD", self._add),
            "CmdDel": ("DEL", self._delete),
            "CmdCheck": ("CHECK", self._check),
            "CmdStatus": ("STATUS", self._status),
            "CmdGC": ("GC", self._collect),
        }
        handlers = {
            method: grpc.unary_unary_rpc_method_handler(
                self._handler(command, function),
                request_deserializer=pb.CniCmdRequest.FromString,
                response_serializer=pb.CniCmdResponse.SerializeToString,
            )
            for method, (command, function) in commands.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        if server.add_insecure_port(f"unix:{self.socket_path}") == 0:
            raise OSError(f"The CNI socket {self.socket_path} cannot be opened.")
        await server.start()
        os.chmod(self.socket_path, 0o750)  # noqa: S103 - as upstream: the runtime runs as root
        self._server = server
        logger.info("Serving CNI on %s", self.socket_path)

    async def stop(self) -> None:
        """Take no more requests; those under way may end, up to a limit. Takes two seconds at most."""
        stopping = asyncio.create_task(self._server.stop(2 * SHUTDOWN_GRACE)) if self._server else None
        if self._running:
            await asyncio.wait(self._running, timeout=SHUTDOWN_GRACE)
        for task in self._running:
            task.cancel()  # an ADD that is cut off undoes itself, and is answered
        if stopping is not None:
            await stopping
        await self._attacher.close()

    def _handler(
        self, command: str, function: Callable[[Request], Awaitable[bytes]]
    ) -> Callable[[pb.CniCmdRequest, Any], Awaitable[pb.CniCmdResponse]]:
        async def handle(message: pb.CniCmdRequest, context: Any) -> pb.CniCmdResponse:
            task = asyncio.create_task(self._answer(command, function, message), name=f"CNI {command}")
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            return await asyncio.shield(task)

        return handle

    async def _answer(
        self, command: str, function: Callable[[Request], Awaitable[bytes]], message: pb.CniCmdRequest
    ) -> pb.CniCmdResponse:
        try:
            request = decode_request(command, message, self._netns_prefix)
            result = await function(request)
        except CNIError as error:
            logger.warning("CNI %s of container %s: %s", command, message.cni_args.container_id[:64], error)
            return error.response()
        except asyncio.CancelledError:
            return CNIError(TRY_AGAIN_LATER, "The agent is being stopped, please retry later").response()
        except Exception as error:
            logger.exception("CNI %s of container %s failed", command, message.cni_args.container_id[:64])
            return CNIError(CONFIG_INTERFACE_FAILURE, f"{command} failed: {error}").response()
        return pb.CniCmdResponse(cni_result=result)

    async def _wait_ready(self) -> None:
        """Before the switch has been synchronized nothing is known to be in it, or to be gone from it."""
        try:
            async with asyncio.timeout(self._network_wait):
                await self.ready.wait()
        except TimeoutError:
            raise CNIError(TRY_AGAIN_LATER, "Server is busy, please retry later") from None

    async def _add(self, request: Request) -> bytes:
        await self._wait_ready()
        async with self._locks.hold(request.container_id):
            attachment = await self._attacher.attach(request)
        logger.info(
            "Attached %s/%s as %s: %s",
            request.namespace,
            request.pod,
            attachment.host_name,
            ", ".join(str(address.ip) for address in attachment.addresses),
        )
        return add_result(request, attachment, self._attacher.mtu(request))

    async def _delete(self, request: Request) -> bytes:
        await self._wait_ready()
        async with self._locks.hold(request.container_id):
            await self._attacher.detach(request)
        logger.info("Detached container %s (%s/%s)", request.container_id, request.namespace, request.pod)
        return b""

    async def _check(self, request: Request) -> bytes:
        addresses, mac = previous_result(request)
        async with self._locks.hold(request.container_id):
            await self._attacher.check(request, addresses, mac)
        return b""

    async def _status(self, request: Request) -> bytes:
        if not self.ready.is_set():
            raise CNIError(
                PLUGIN_NOT_AVAILABLE, "The agent has not finished its start: no pod can be attached yet"
            )
        return b""

    async def _collect(self, request: Request) -> bytes:
        """CNI GC: detach what is not among the attachments that the runtime knows."""
        if request.config.valid_attachments is None:
            raise CNIError(
                INVALID_NETWORK_CONFIG, "GC needs cni.dev/valid-attachments in the network configuration"
            )
        valid = {
            (str(entry.get("containerID")), str(entry.get("ifname")))
            for entry in request.config.valid_attachments
        }
        # Every attachment has an address, and so does every half of one that a crash has left.
        for container_id, ifname in await self._attacher.owners():
            if (container_id, ifname) not in valid and container_id:
                logger.info("The runtime knows no container %s with interface %s", container_id, ifname)
                await self._delete(
                    Request("DEL", container_id, "", ifname, NetworkConfig(), b"", request.version)
                )
        return b""
