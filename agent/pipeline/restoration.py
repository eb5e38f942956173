"""What has to happen after vswitchd was restarted, in the order in which nothing forbidden can pass.

    1. settings of conntrack                 } userspace datapath
    2. connections, from the last snapshot   }
    3. hooks "before flows"
    4. groups, meters, flows in one atomic bundle   (the programmer)
    5. hooks "after flows": tunnel neighbours, port settings, end of flow-restore-wait

Until step 4 the bridge has no flows and, with fail_mode=secure, forwards nothing.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from agent.openflow.connection import Connection, OpenFlowError
from agent.pipeline import conntrack, unixctl

log = logging.getLogger(__name__)

SNAPSHOT_PERIOD = 1.0  # seconds; longer when a snapshot takes long, because it holds up forwarding
SNAPSHOT_SHARE = 0.01  # of vswitchd's time, at most
BLOCK = 500


class Moment(enum.Enum):
    """When a hook runs. AFTER_CONNECT also runs when the connection was lost but vswitchd was not
    restarted."""

    BEFORE_FLOWS = "before the flows are back"
    AFTER_FLOWS = "after the flows are back"
    AFTER_CONNECT = "after every reconnect"


Hook = Callable[[], Awaitable[object]]


class Restoration:
    """Steps around the flows. ``socket`` is vswitchd's control socket or the directory in which it makes one
    for each process; None on the kernel datapath."""

    def __init__(self, socket: str | Path | None) -> None:
        self._socket = Path(socket) if socket is not None else None
        self._hooks: dict[Moment, list[tuple[str, Hook]]] = {moment: [] for moment in Moment}
        self._snapshot: list[conntrack.Connection] = []
        self._task: asyncio.Task[None] | None = None
        self.restored = 0  # connections put back by the last restoration

    def on(self, moment: Moment, name: str, hook: Hook) -> None:
        """Runs the hook after a restart of vswitchd. A hook that fails is logged and stops nothing."""
        self._hooks[moment].append((name, hook))

    async def _run(self, moment: Moment) -> None:
        for name, hook in self._hooks[moment]:
            try:
                await hook()
            except Exception:
                log.exception("%s, %s failed; going on", moment.value, name)

    async def before_flows(self, connection: Connection) -> None:
        """Steps 1 to 3."""
        if self._socket is not None:
            await self.configure()
            await self._restore_connections(connection)
        await self._run(Moment.BEFORE_FLOWS)

    async def after_flows(self, restarted: bool) -> None:
        """Step 5."""
        if restarted:
            await self._run(Moment.AFTER_FLOWS)
        await self._run(Moment.AFTER_CONNECT)

    def control(self) -> Path:
        """vswitchd's control socket. Only for nodes on the userspace datapath."""
        assert self._socket is not None
        if not self._socket.is_dir():
            return self._socket
        return unixctl.socket_of_vswitchd(self._socket) or self._socket / "ovs-vswitchd.ctl"

    async def configure(self) -> None:
        """Settings that vswitchd forgets. Made-up packets have made-up sequence numbers, and with the check
        on conntrack would call everything after them invalid."""
        if self._socket is None:
            return
        try:
            await unixctl.call(self.control(), "dpctl/ct-disable-tcp-seq-chk")
        except unixctl.UnixctlError as error:
            log.error("TCP connections may hang after a restart of vswitchd: %s", error)

    async def _restore_connections(self, connection: Connection) -> None:
        snapshot = self._snapshot
        self.restored = 0
        try:
            for start in range(0, len(snapshot), BLOCK):
                block = snapshot[start : start + BLOCK]
                connection.send(
                    b"".join([conntrack.restoring_message(connection.next_xid(), entry) for entry in block])
                )
                await connection.drain()
            if snapshot:
                await connection.barrier()
            self.restored = len(snapshot)
        except OpenFlowError as error:
            log.error("%d connections could not be put back: %s", len(snapshot) - self.restored, error)

    # --- snapshots ---

    async def start_snapshots(self) -> None:
        """From now on connections are remembered, as long as vswitchd runs."""
        if self._socket is not None and self._task is None:
            await self.configure()
            self._task = asyncio.create_task(self._snapshots(), name="conntrack-snapshots")

    async def pause_snapshots(self) -> None:
        """The connection is gone: the last snapshot is the one to restore."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    stop = pause_snapshots

    async def _snapshots(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self.take_snapshot()
            taken = loop.time() - began
            await asyncio.sleep(max(SNAPSHOT_PERIOD, taken / SNAPSHOT_SHARE))

    async def take_snapshot(self) -> int:
        """Remembers the connections of now. Gives how many; on failure the last snapshot stays."""
        try:
            dump = await unixctl.call(self.control(), "dpctl/dump-conntrack")
        except unixctl.UnixctlError as error:
            log.debug("no snapshot of connections: %s", error)
            return len(self._snapshot)
        if len(dump) > 1 << 18:
            self._snapshot = await asyncio.to_thread(conntrack.parse, dump, self._snapshot)
        else:
            self._snapshot = conntrack.parse(dump, self._snapshot)
        return len(self._snapshot)
