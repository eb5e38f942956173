"""What strangers can do to others: nothing. Real sockets, a server in a process of its own, and an honest
client whose every request is timed meanwhile.

The deadlines are shortened here; that the real ones are those that are promised is test_limits' to say.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.connections import Connection, Connections, source
from apiserver.listener import Limits

PROJECT = Path(__file__).parents[2]
WATCH = "/api/v1/configmaps?watch=1"
CONFIGMAPS = "/api/v1/namespaces/ns/configmaps"


@dataclass
class Attacked:
    """The server, and sockets to it from any loopback address."""

    port: int
    context: ssl.SSLContext
    process: asyncio.subprocess.Process
    sockets: list[socket.socket] = field(default_factory=list)

    async def counters(self) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"\n")
        return dict(json.loads(await self.process.stdout.readline()))

    async def connect(self, address: str) -> socket.socket:
        """A TCP connection whose other end says nothing of its own accord."""
        made = socket.socket()
        made.setblocking(False)
        made.bind((address, 0))
        self.sockets.append(made)
        await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", self.port))
        return made

    async def tls(self, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.context, local_addr=(address, 0), limit=1 << 12
        )


@asynccontextmanager
async def attacked(limits: Limits) -> AsyncIterator[Attacked]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 8192 <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (8192, hard))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.apiserver.attacked", json.dumps(asdict(limits)),
        cwd=PROJECT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    told = json.loads(await process.stdout.readline())
    server = Attacked(told["port"], ssl.create_default_context(cadata=told["ca"]), process)
    try:
        yield server
    finally:
        for one in server.sockets:
            one.close()
        process.kill()
        await process.wait()


class Honest:
    """Connects anew for each request, twenty times a second, and takes the time."""

    def __init__(self, server: Attacked) -> None:
        self._server = server
        self.seconds: list[float] = []
        self.failures: list[str] = []

    async def run(self) -> None:
        while True:
            began = time.monotonic()
            try:
                await self._ask()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                self.failures.append(repr(error))
            self.seconds.append(time.monotonic() - began)
            await asyncio.sleep(0.05)

    async def _ask(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self._server.context, force_close=True)
        timeout = aiohttp.ClientTimeout(total=10)
        url = f"https://127.0.0.1:{self._server.port}{CONFIGMAPS}"
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.get(url) as response,
        ):
            assert response.status == 200
            await response.read()


async def meanwhile(server: Attacked, what: str, attack: Callable[[], Awaitable[object]]) -> Honest:
    """Runs the attack while the honest client asks; prints what it saw."""
    honest = Honest(server)
    task = asyncio.create_task(honest.run())
    await asyncio.sleep(0.3)
    try:
        await attack()
        await asyncio.sleep(1.0)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    seconds = sorted(honest.seconds)
    middle, most = seconds[len(seconds) // 2], seconds[-1]
    tail = seconds[int(len(seconds) * 0.99)]
    print(
        f"{what}: {len(seconds)} honest requests, p50 {middle * 1e3:.0f} ms, p99 {tail * 1e3:.0f} ms, "
        f"most {most * 1e3:.0f} ms, {len(honest.failures)} failed; {await server.counters()}"
    )
    return honest


def unharmed(honest: Honest) -> None:
    assert honest.failures == []
    assert max(honest.seconds) < 5


async def closed(reader: asyncio.StreamReader) -> bool:
    """Reads on to the end of the connection, however it comes."""
    try:
        while await reader.read(65536):
            pass
    except (ConnectionError, ssl.SSLError):
        pass
    return True


async def gone(one: socket.socket) -> bool:
    try:
        while await asyncio.get_running_loop().sock_recv(one, 65536):
            pass
    except ConnectionError:
        pass
    return True


async def test_thousands_of_half_open_handshakes() -> None:
    async with attacked(Limits(handshake_seconds=2.0, handshakes=600)) as server:
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random.randbytes(200)

        async def attack() -> None:
            for number in range(3000):
                one = await server.connect(f"127.0.1.{number % 3}")
                if number % 2:
                    await asyncio.get_running_loop().sock_sendall(one, hello)
            assert (await server.counters())["shaking"] <= 600
            # They wait for one another, and run into the deadline or give way.
            await asyncio.wait_for(asyncio.gather(*map(gone, server.sockets)), 60)

        unharmed(await meanwhile(server, "3000 half-open handshakes", attack))
        counters = await server.counters()
        assert (counters["shaking"], counters["open"]) == (0, 0)


async def test_slow_heads_bodies_and_silence_after_the_handshake() -> None:
    async with attacked(Limits(head_seconds=2.0, idle_seconds=3.0)) as server:
        finished = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
        beginnings = (b"", b"GET / HTTP/1.1\r\nX: ", finished, finished + b"GET / HTTP/1.1\r\nX: ")

        async def drip(number: int) -> None:
            reader, writer = await server.tls("127.0.2.1")
            ended = asyncio.create_task(closed(reader))
            beginning = beginnings[number % len(beginnings)]
            writer.write(beginning)
            while not ended.done():
                await asyncio.wait([ended], timeout=0.5)
                if beginning.endswith(b"X: "):
                    writer.write(b"a")
            writer.close()

        async def attack() -> None:
            await asyncio.wait_for(asyncio.gather(*map(drip, range(200))), 60)

        unharmed(await meanwhile(server, "200 slow clients", attack))
        assert (await server.counters())["open"] <= 2


async def test_one_address_cannot_take_all_connections() -> None:
    async with attacked(Limits(connections=150, connections_per_peer=50)) as server:

        async def attack() -> None:
            reached = [await server.connect("127.0.3.1") for _ in range(80)]
            ended = await asyncio.gather(*(ended_within(one, 2.0) for one in reached))
            assert sum(ended) == 30

        honest = await meanwhile(server, "80 connections of 50 allowed", attack)
        unharmed(honest)
        assert (await server.counters())["refused"] == 30
        # Three such addresses fill the server; then what is unfinished gives way.
        await asyncio.sleep(2.1)
        for peer in (2, 3):
            for _ in range(50):
                await server.connect(f"127.0.3.{peer}")
        unharmed(await meanwhile(server, "all connections taken", lambda: asyncio.sleep(1)))


async def ended_within(one: socket.socket, seconds: float) -> bool:
    try:
        return await asyncio.wait_for(gone(one), seconds)
    except TimeoutError:
        return False


async def test_a_client_that_stops_reading_its_watch_is_cut_off() -> None:
    async with attacked(Limits(stuck_seconds=2.0)) as server:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.bind(("127.0.4.1", 0))
        raw.connect(("127.0.0.1", server.port))
        server.sockets.append(raw)
        stuck = server.context.wrap_socket(raw, server_hostname="127.0.0.1")
        server.sockets.append(stuck)
        stuck.sendall(f"GET {WATCH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        stuck.recv(1)
        base = f"https://127.0.0.1:{server.port}{CONFIGMAPS}"

        async def attack() -> None:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=server.context)) as session:
                for number in range(40):
                    document = {
                        "metadata": {"name": f"c{number}"},
                        "data": {"a": random.randbytes(200_000).hex()},
                    }
                    async with session.post(base, json=document) as response:
                        assert response.status == 201
                for number in range(40):
                    async with session.delete(f"{base}/c{number}") as response:
                        assert response.status == 200
            before = await server.counters()
            for _ in range(100):
                if (await server.counters())["open"] < before["open"]:
                    break
                await asyncio.sleep(0.1)

        unharmed(await meanwhile(server, "a watch that is not read", attack))
        deadline = time.monotonic() + 30
        while (await server.counters())["open"]:
            assert time.monotonic() < deadline, "the watch that nobody reads is still open"
            await asyncio.sleep(0.1)


# -- the rule itself -----------------------------------------------------------------------------------------


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (("10.0.0.1", 4000), "10.0.0.1"),
        (("::ffff:10.0.0.1", 4000, 0, 0), "10.0.0.1"),
        (("2001:db8:1:2:3:4:5:6", 4000, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 4000, 0, 2), "fe80::/64"),
        ("", ""),
        (b"", ""),
    ],
)
def test_whom_a_connection_is_counted_for(address: object, expected: str) -> None:
    assert source(address) == expected


def opened(connections: Connections, peer: str, dropped: list[str] | None = None) -> Connection:
    connection = connections.opened(peer)
    assert connection is not None
    if dropped is not None:
        connection.drop = lambda: dropped.append(peer)
    return connection


def test_the_connections_of_an_address_wait_for_one_another_and_for_nobody_else() -> None:
    connections = Connections(total=100, per_peer=50, handshakes=20, handshakes_per_peer=3)
    loud = [opened(connections, "loud") for _ in range(10)]
    assert [one.turn.is_set() for one in loud] == [True] * 3 + [False] * 7
    assert opened(connections, "honest").turn.is_set()
    connections.established(loud[1])
    connections.closed(loud[0])
    assert [one.turn.is_set() for one in loud] == [True] * 5 + [False] * 5
    connections.closed(loud[9])  # one that had no turn yet
    for one in loud:
        connections.closed(one)
    assert (len(connections), connections.shaking) == (1, 1)


def test_the_most_insistent_address_gives_way() -> None:
    clock = Clock()
    connections = Connections(total=100, per_peer=50, handshakes=5, handshakes_per_peer=4, clock=clock)
    dropped: list[str] = []
    for _ in range(3):
        opened(connections, "some", dropped)
    for _ in range(2):
        opened(connections, "few", dropped)
    late = opened(connections, "late", dropped)
    assert not late.turn.is_set()  # all are young, and nobody has very many
    clock.now += 3
    later = opened(connections, "later", dropped)
    assert dropped == ["some"]
    assert [late.turn.is_set(), later.turn.is_set()] == [True, False]
    assert connections.shaking == 5


def test_a_newcomer_waits_for_no_crowd() -> None:
    connections = Connections(total=100, per_peer=50, handshakes=8, handshakes_per_peer=4)
    dropped: list[str] = []
    crowd = [opened(connections, f"crowd{number % 2}", dropped) for number in range(20)]
    assert opened(connections, "honest").turn.is_set()
    assert len(dropped) == 1
    # Another of the crowd does not get its place.
    assert sum(one.turn.is_set() and not one.over for one in crowd) == 7


def test_a_full_server_refuses_and_counts_what_is_gone() -> None:
    connections = Connections(total=3, per_peer=2, handshakes=10, handshakes_per_peer=10)
    first, second = connections.opened("a"), connections.opened("a")
    assert first is not None
    assert second is not None
    assert connections.opened("a") is None
    assert connections.opened("b") is not None
    assert connections.opened("c") is None
    for connection in (first, second):
        connections.established(connection)
        connections.closed(connection)
        connections.closed(connection)
    assert (len(connections), connections.shaking, connections.refused) == (1, 1, 2)
    assert connections.opened("a") is not None


def test_local_sockets_are_not_counted_by_address() -> None:
    connections = Connections(total=10, per_peer=1, handshakes=10, handshakes_per_peer=1)
    assert all(opened(connections, "").turn.is_set() for _ in range(5))


@given(st.lists(st.tuples(st.sampled_from(["opened", "established", "closed", "wait"]), st.integers(0, 9))))
def test_whatever_happens_the_numbers_are_right(steps: list[tuple[str, int]]) -> None:
    clock = Clock()
    connections = Connections(total=6, per_peer=4, handshakes=3, handshakes_per_peer=2, clock=clock)
    alive: list[Connection] = []
    for step, number in steps:
        if step == "opened":
            made = connections.opened(f"peer{number % 3}")
            if made is not None:
                made.drop = lambda made=made: alive.remove(made)  # type: ignore[misc]
                alive.append(made)
        elif step == "wait":
            clock.now += 1.5
        elif alive:
            one = alive[number % len(alive)]
            if step == "closed":
                connections.closed(one)
                alive.remove(one)
            elif one.turn.is_set():
                connections.established(one)
        unfinished = [one for one in alive if not one.finished]
        shaking = [one for one in unfinished if one.turn.is_set()]
        assert len(connections) == len(alive) <= 6
        assert connections.shaking == len(shaking) <= 3
        # Nobody waits for a turn that is free, or has more than his part.
        assert all(sum(one.peer == f"peer{n}" for one in shaking) <= 2 for n in range(3))
        if len(shaking) < 3:
            for one in unfinished:
                assert one.turn.is_set() or sum(other.peer == one.peer for other in shaking) == 2
    for one in list(alive):
        connections.closed(one)
    assert (len(connections), connections.shaking) == (0, 0)
