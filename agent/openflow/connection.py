"""One OpenFlow connection to a bridge's management socket, on asyncio.

Whoever asks gets the answer by xid or a ``SwitchError``; what nobody asked for (packet-ins, port changes,
flow monitors) goes to handlers. The connection ends when the peer closes it, speaks nonsense or stays
silent, and then every open question ends with ``ConnectionLost``. It does not reconnect: see
agent.pipeline.programmer.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

from agent.openflow.codec import messages as m
from agent.openflow.codec.errors import CodecError
from agent.openflow.codec.events import (
    EchoRequest,
    ErrorMessage,
    Event,
    Hello,
    MultipartReply,
)
from agent.openflow.codec.messages import Multipart
from agent.openflow.codec.stream import Stream

log = logging.getLogger(__name__)

ANSWER_TIMEOUT = 10.0  # seconds for any answer; a commit of 100,000 flows takes about half a second
ECHO_INTERVAL = 5.0
SILENCE_LIMIT = 30.0  # with nothing received for so long the peer is taken for dead
MAX_ANSWER = 512 << 20  # bytes of one multipart answer: a million flows
MAX_QUESTIONS = 1024

# Bundles number their messages from here on, one bundle after the other (see bundle.py).
BUNDLE_XIDS = 0x80000000


class OpenFlowError(Exception):
    """Base of what a connection may raise."""


class ConnectionLost(OpenFlowError):
    """The connection is gone; the message says why."""


class SwitchError(OpenFlowError):
    """The switch refused a message."""

    def __init__(self, error: ErrorMessage) -> None:
        super().__init__(str(error))
        self.error = error


class Sink(Protocol):
    """Takes the answers to a whole range of messages (a bundle's)."""

    def answer(self, event: Event) -> None: ...


class _Question:
    """A message whose answer somebody awaits; a multipart answer is collected until its last part."""

    __slots__ = ("future", "parts", "size")

    def __init__(self, future: asyncio.Future[Event]) -> None:
        self.future = future
        self.parts: list[bytes] | None = None
        self.size = 0


class Connection(asyncio.Protocol):
    """An open connection. Make one with ``Connection.open``, end it with ``close``."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.sink: Sink | None = None
        self.bundle_xid = BUNDLE_XIDS  # of the first message of the next bundle
        self._loop = asyncio.get_running_loop()
        self._stream = Stream()
        self._transport: asyncio.Transport | None = None
        self._questions: dict[int, _Question] = {}
        self._handlers: dict[type[Event], list[Callable[[Event], None]]] = {}
        self._xids = itertools.cycle(range(1, BUNDLE_XIDS))
        self._writable = asyncio.Event()
        self._writable.set()
        self._hello: asyncio.Future[None] = self._loop.create_future()
        self._lost: asyncio.Future[str] = self._loop.create_future()
        self._heard = self._loop.time()
        self._echo: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: str | Path, *, timeout: float = 5.0) -> Connection:
        """Connects, says hello and asks for packet-ins. Raises OSError or ConnectionLost."""
        loop = asyncio.get_running_loop()
        _, connection = await asyncio.wait_for(
            loop.create_unix_connection(lambda: cls(str(path)), str(path)), timeout
        )
        try:
            connection.send(m.hello(connection.next_xid()))
            try:
                await asyncio.wait_for(asyncio.shield(connection._hello), timeout)
            except TimeoutError:
                raise ConnectionLost(
                    f"{path} accepted a connection but said no hello in {timeout} s"
                ) from None
            # Without a miss_send_len OVS sends nothing by itself to a client of this socket.
            connection.send(m.set_config(connection.next_xid()))
            connection.send(m.set_packet_in_format(connection.next_xid()))
            await connection.barrier(timeout=timeout)
        except BaseException:
            await connection.close()
            raise
        connection._echo = loop.create_task(connection._keep_alive(), name=f"openflow-echo {path}")
        return connection

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=1 << 20)

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        try:
            events = self._stream.receive(data)
        except CodecError as error:
            self._end(f"{self.path} sent bytes that are not OpenFlow 1.5: {error}")
            return
        for event in events:
            try:
                self._dispatch(event)
            except Exception:
                log.exception("a handler failed on %s", type(event).__name__)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(f"{self.path} was closed: {error or 'by the switch'}")

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # --- sending ---

    def next_xid(self) -> int:
        return next(self._xids)

    @property
    def is_lost(self) -> bool:
        return self._lost.done()

    async def lost(self) -> str:
        """Waits until the connection is gone and says why."""
        return await asyncio.shield(self._lost)

    def send(self, data: bytes) -> None:
        """Sends without waiting. Writers of many messages await ``drain`` now and then."""
        if self._transport is None or self._lost.done():
            raise ConnectionLost(self._reason())
        self._transport.write(data)

    async def drain(self) -> None:
        """Waits until the switch has taken enough of what was sent."""
        if not self._writable.is_set():
            try:
                await asyncio.wait_for(self._writable.wait(), ANSWER_TIMEOUT)
            except TimeoutError:
                self._end(f"{self.path} has read nothing for {ANSWER_TIMEOUT} s")
        if self._lost.done():
            raise ConnectionLost(self._reason())

    async def ask(self, xid: int, data: bytes, *, timeout: float = ANSWER_TIMEOUT) -> Event:
        """Sends a message and waits for the answer with its xid."""
        if len(self._questions) >= MAX_QUESTIONS:
            raise OpenFlowError(f"{len(self._questions)} questions to {self.path} are open; wait for answers")
        question = _Question(self._loop.create_future())
        self._questions[xid] = question
        try:
            self.send(data)
            async with asyncio.timeout(timeout):
                return await question.future
        except TimeoutError:
            raise ConnectionLost(f"{self.path} gave no answer within {timeout} s") from None
        finally:
            self._questions.pop(xid, None)

    async def barrier(self, *, timeout: float = ANSWER_TIMEOUT) -> None:
        """Waits until the switch has done everything that was sent before."""
        xid = self.next_xid()
        await self.ask(xid, m.barrier_request(xid), timeout=timeout)

    async def multipart(
        self, kind: Multipart, body: bytes = b"", *, timeout: float = ANSWER_TIMEOUT
    ) -> list[bytes]:
        """Asks for a description and gives the bodies of all parts of the answer."""
        xid = self.next_xid()
        return await self.collect(xid, m.multipart_request(xid, kind, body), timeout=timeout)

    async def collect(self, xid: int, data: bytes, *, timeout: float = ANSWER_TIMEOUT) -> list[bytes]:
        """Like ``multipart``, for a request that is already packed."""
        if len(self._questions) >= MAX_QUESTIONS:
            raise OpenFlowError(f"{len(self._questions)} questions to {self.path} are open; wait for answers")
        question = _Question(self._loop.create_future())
        question.parts = []
        self._questions[xid] = question
        try:
            self.send(data)
            async with asyncio.timeout(timeout):
                await question.future
        except TimeoutError:
            raise ConnectionLost(f"{self.path} gave no full answer within {timeout} s") from None
        finally:
            self._questions.pop(xid, None)
        return question.parts

    # --- receiving ---

    def on(self, kind: type[Event], handler: Callable[[Event], None]) -> None:
        """Calls the handler for every event of this type that answers no question (PacketIn, PortStatus
        …)."""
        self._handlers.setdefault(kind, []).append(handler)

    def _dispatch(self, event: Event) -> None:
        if isinstance(event, EchoRequest):
            self.send(m.echo_reply(event.xid, event.data))
            return
        if isinstance(event, Hello):
            if not self._hello.done():
                self._hello.set_result(None)
            return
        if event.xid >= BUNDLE_XIDS and self.sink is not None:
            self.sink.answer(event)
            return
        question = self._questions.get(event.xid)
        if question is not None and not question.future.done():
            self._answer(question, event)
            return
        for handler in self._handlers.get(type(event), ()):
            handler(event)
        if isinstance(event, ErrorMessage) and ErrorMessage not in self._handlers:
            log.warning("%s refused message %d: %s", self.path, event.xid, event)

    def _answer(self, question: _Question, event: Event) -> None:
        if isinstance(event, ErrorMessage):
            question.future.set_exception(SwitchError(event))
        elif question.parts is not None and isinstance(event, MultipartReply):
            question.parts.append(event.body)
            question.size += len(event.body)
            if question.size > MAX_ANSWER:
                question.future.set_exception(
                    OpenFlowError(f"an answer of {self.path} grew over {MAX_ANSWER} bytes; gave up on it")
                )
            elif not event.more:
                question.future.set_result(event)
        else:
            question.future.set_result(event)

    async def _keep_alive(self) -> None:
        while not self._lost.done():
            await asyncio.sleep(ECHO_INTERVAL)
            silent = self._loop.time() - self._heard
            if silent > SILENCE_LIMIT:
                self._end(f"{self.path} was silent for {silent:.0f} s")
            elif not self._lost.done():
                self.send(m.echo_request(self.next_xid()))

    # --- the end ---

    def _reason(self) -> str:
        return self._lost.result() if self._lost.done() else f"{self.path} is not connected"

    def _end(self, reason: str) -> None:
        if not self._lost.done():
            self._lost.set_result(reason)
        error = ConnectionLost(self._reason())
        if not self._hello.done():
            self._hello.set_exception(error)
            self._hello.exception()  # read once: nobody may be waiting for it
        for question in list(self._questions.values()):
            if not question.future.done():
                question.future.set_exception(error)
        self._writable.set()
        if self.sink is not None:
            sink, self.sink = self.sink, None
            sink.answer(ErrorMessage(0, 0, 0, b""))
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Closes the connection; everything that was sent before may or may not arrive."""
        self._end(f"{self.path} was closed by this side")
        if self._echo is not None:
            self._echo.cancel()
            await asyncio.gather(self._echo, return_exceptions=True)
        await asyncio.sleep(0)
