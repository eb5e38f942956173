"""A bundle: many messages that the switch applies together or not at all.

    async with Bundle(connection) as bundle:
        bundle.add_flow(FlowCommand.ADD, cookie, key, body)
        await bundle.flow_control()          # now and then, for long bundles
    # committed here

OVS refuses a malformed message at once but keeps the bundle open without it, and finds some faults (a group
that does not exist) only at the commit. So errors are collected until the answer to the close request, which
comes after all of the first kind; with any the bundle is discarded. In both cases ``BundleRejected`` says
which messages were at fault, by their position, and nothing was applied.
"""

from __future__ import annotations

import asyncio
import itertools
from types import TracebackType
from typing import Self

from agent.openflow.codec import messages as m
from agent.openflow.codec.events import BundleReply, ErrorMessage, Event
from agent.openflow.codec.messages import BundleControl
from agent.openflow.connection import ANSWER_TIMEOUT, BUNDLE_XIDS, Connection, ConnectionLost, OpenFlowError

BLOCK = 1000  # messages in one write

_LAST_FIRST = 0xF0000000  # leaves room for 250 million messages before the xids of control messages

_ids = itertools.count(1)


class BundleRejected(OpenFlowError):
    """Nothing of the bundle was applied. ``faults``: position of a message → why the switch refused it."""

    def __init__(self, faults: dict[int, ErrorMessage], commit: ErrorMessage | None = None) -> None:
        which = "; ".join(f"message {index}: {error}" for index, error in itertools.islice(faults.items(), 5))
        super().__init__(f"the switch refused {len(faults)} messages of a bundle ({which or commit})")
        self.faults = faults
        self.commit = commit


class Bundle:
    """One bundle. Only one may be open on a connection at a time (the caller holds a lock)."""

    def __init__(self, connection: Connection, *, flags: int = m.ATOMIC | m.ORDERED) -> None:
        self.connection = connection
        self.count = 0
        # Each bundle has xids of its own: an error that comes late for one that was given up is not
        # taken for an error of the next.
        self._first = connection.bundle_xid if connection.bundle_xid < _LAST_FIRST else BUNDLE_XIDS
        self._number = next(_ids) & 0xFFFFFFFF
        self._flags = flags
        self._pack = m.bundled_flow_mods(self._number, flags)
        self._block: list[bytes] = []
        self._faults: dict[int, ErrorMessage] = {}
        self._control: asyncio.Future[Event] | None = None
        self._control_xid = 0

    async def __aenter__(self) -> Self:
        self.connection.sink = self
        self._send_control(BundleControl.OPEN_REQUEST)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                if not self.connection.is_lost:
                    self._send_control(BundleControl.DISCARD_REQUEST)
                return
            await self._commit()
        finally:
            self.connection.bundle_xid = self._first + self.count
            if self.connection.sink is self:
                self.connection.sink = None

    # --- content ---

    def add_flow(self, command: int, cookie: int, key: bytes, body: bytes) -> None:
        """Raises CodecError if the flow does not fit into a message; the bundle stays usable without it."""
        self._block.append(self._pack(self._first + self.count, command, cookie, key, body))
        self.count += 1

    def add_message(self, message: bytes) -> None:
        """Any other message that may stand in a bundle (group-mods). Its xid is replaced."""
        xid = (self._first + self.count).to_bytes(4, "big")
        self._block.append(m.bundle_add(self._number, message[:4] + xid + message[8:], self._flags))
        self.count += 1

    async def flow_control(self) -> None:
        """Sends what has gathered once it is worth a write, and waits while the switch is behind."""
        if len(self._block) >= BLOCK:
            self._flush()
            await self.connection.drain()

    def _flush(self) -> None:
        if self._block:
            self.connection.send(b"".join(self._block))
            self._block.clear()

    # --- the protocol ---

    def _send_control(self, kind: BundleControl) -> None:
        self._flush()
        self._control_xid = 0xFFFFFFF0 + kind
        self.connection.send(m.bundle_control(self._control_xid, self._number, kind, self._flags))

    async def _ask_control(self, kind: BundleControl) -> Event:
        self._control = asyncio.get_running_loop().create_future()
        self._send_control(kind)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                return await self._control
        except TimeoutError:
            raise ConnectionLost(
                f"{self.connection.path} did not answer to the {kind.name.lower()} of a bundle of "
                f"{self.count} messages within {ANSWER_TIMEOUT} s"
            ) from None

    def answer(self, event: Event) -> None:
        """Called by the connection for everything that answers this bundle's messages, and when it is
        lost."""
        if isinstance(event, ErrorMessage) and event.xid == 0:
            if self._control is not None and not self._control.done():
                self._control.set_exception(
                    ConnectionLost(f"{self.connection.path} was lost within a bundle")
                )
            return
        index = event.xid - self._first
        if isinstance(event, ErrorMessage) and 0 <= index < self.count:
            self._faults[index] = event
        elif isinstance(event, BundleReply) and event.kind == BundleControl.OPEN_REPLY:
            return
        elif self._control is not None and not self._control.done() and event.xid == self._control_xid:
            self._control.set_result(event)

    async def _commit(self) -> None:
        reply = await self._ask_control(BundleControl.CLOSE_REQUEST)
        if self._faults or isinstance(reply, ErrorMessage):
            self._send_control(BundleControl.DISCARD_REQUEST)
            raise BundleRejected(self._faults, reply if isinstance(reply, ErrorMessage) else None)
        reply = await self._ask_control(BundleControl.COMMIT_REQUEST)
        if isinstance(reply, ErrorMessage):
            raise BundleRejected(self._faults, reply)
