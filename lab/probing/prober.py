"""The prober: one thread that enters namespace after namespace, opens sockets there and waits for all.

A socket belongs to the namespace in which it was made, whatever its thread does afterwards. So a single
thread with one epoll can have probes out from every pod of the lab at the same time; and entering a
namespace moves only that thread, not the process.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import os
import queue
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path

from lab.nodes import netns
from lab.probing.attempts import Attempt, TcpAttempt, Verdict, attempt
from lab.probing.model import Outcome, Probe, Result
from lab.probing.ports import SourcePorts

DEFAULT_TIMEOUT = 1.0  # seconds until silence counts as "dropped"
REPEATS = (0.2, 0.5)  # when, as parts of the time-out, a packet is sent again
WINDOW = 200  # probes out at a time; each has at most three sockets
LOCAL_RETRIES = 5  # of what is not policy: no buffers, no port


class _Flight:
    """One probe that is out, with all its sockets."""

    __slots__ = ("attempts", "deadline", "done", "probe", "sent_at")

    def __init__(self, probe: Probe, done: Callable[[Result], None]) -> None:
        self.probe = probe
        self.done = done
        self.attempts: list[Attempt] = []
        self.sent_at = 0.0
        self.deadline = 0.0


class Stream:
    """A fresh probe at a fixed rate, until stopped. Results are kept in order of their sending.

    Thread-safe. Times are those of time.monotonic()."""

    def __init__(self, probe: Probe, rate: float, timeout: float) -> None:
        self.probe = probe
        self.interval = 1.0 / rate
        self.timeout = timeout
        self.stopped = False
        self._results: list[Result] = []
        self._changed = threading.Condition()

    def _add(self, result: Result) -> None:
        with self._changed:
            self._results.append(result)
            self._changed.notify_all()

    def stop(self) -> None:
        self.stopped = True

    def results(self, since: float = 0.0) -> list[Result]:
        """The results so far of probes sent at or after ``since``."""
        with self._changed:
            return [result for result in self._results if result.sent_at >= since]

    def leaks(self, since: float = 0.0) -> list[Result]:
        """Those through which anything passed: for a denied pair there must be none."""
        return [result for result in self.results(since) if result.passed]

    def wait_for_answer(self, since: float, timeout: float) -> Result | None:
        """The first allowed probe sent at or after ``since``; None if none comes in ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for result in reversed(self._results):
                    if result.sent_at < since:
                        break
                    if result.allowed:
                        return result
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)


class Prober:
    """``ports`` is the lab's shared file of source ports. Use as a context manager."""

    def __init__(self, ports: Path | None = None) -> None:
        self._ports = SourcePorts(ports)
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="prober", daemon=True)
        # -- all below belongs to the thread --
        self._poll = select.epoll()
        self._by_descriptor: dict[int, tuple[_Flight, Attempt]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()
        self._waiting: deque[tuple[_Flight, float]] = deque()
        self._out: set[_Flight] = set()
        self._thread.start()

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the thread; streams stop, probes that are out are dropped."""
        self._commands.put(None)
        os.eventfd_write(self._wake, 1)
        self._thread.join(timeout=5)

    def probe_all(self, probes: Iterable[Probe], timeout: float = DEFAULT_TIMEOUT) -> list[Result]:
        """Send all probes, many at a time, and return their results in the same order."""
        wanted = list(probes)
        results: dict[int, Result] = {}
        finished: Future[None] = Future()
        if not wanted:
            return []

        def begin() -> None:
            for index, probe in enumerate(wanted):
                self._waiting.append((_Flight(probe, functools.partial(done, index)), timeout))

        def done(index: int, result: Result) -> None:
            results[index] = result
            if len(results) == len(wanted):
                finished.set_result(None)

        self._do(begin)
        finished.result(timeout=30 + timeout * (2 + len(wanted) / WINDOW))
        return [results[index] for index in range(len(wanted))]

    def probe(self, probe: Probe, timeout: float = DEFAULT_TIMEOUT) -> Result:
        return self.probe_all([probe], timeout)[0]

    def stream(
        self, probe: Probe, rate: float = 10.0, timeout: float = DEFAULT_TIMEOUT, repeat: bool = True
    ) -> Stream:
        """Probe again and again, ``rate`` times a second, without waiting for the previous one's end.

        Without ``repeat`` each probe sends one packet only: then an answer dates the policy exactly."""
        stream = Stream(probe, rate, timeout)

        def tick(due: float) -> None:
            if stream.stopped:
                return
            self._launch(_Flight(probe, stream._add), timeout, repeat)
            following = max(due + stream.interval, time.monotonic() - stream.interval)
            self._at(following, lambda: tick(following))

        # Streams that were started together do not all send in the same millisecond.
        start = time.monotonic() + (next(self._sequence) % 10) * stream.interval / 10
        self._do(lambda: self._at(start, lambda: tick(start)))
        return stream

    def streams(
        self, probes: Sequence[Probe], rate: float = 10.0, timeout: float = DEFAULT_TIMEOUT
    ) -> list[Stream]:
        return [self.stream(probe, rate, timeout) for probe in probes]

    # -- the thread --------------------------------------------------------------------------------
    def _do(self, command: Callable[[], None]) -> None:
        self._commands.put(command)
        os.eventfd_write(self._wake, 1)

    def _at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (when, next(self._sequence), action))

    def _run(self) -> None:
        self._poll.register(self._wake, select.EPOLLIN)
        home = "/proc/thread-self/ns/net"
        self._home = os.open(home, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while self._turn():
                pass
        finally:
            for flight in self._out:
                for each in flight.attempts:
                    each.close()
            os.close(self._home)
            self._poll.close()

    def _turn(self) -> bool:
        self._launch_waiting()
        pause = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else -1
        for descriptor, _ in self._poll.poll(pause):
            if descriptor == self._wake:
                os.eventfd_read(self._wake)
                while not self._commands.empty():
                    command = self._commands.get()
                    if command is None:
                        return False
                    command()
            elif descriptor in self._by_descriptor:
                self._event(*self._by_descriptor[descriptor])
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
        return True

    def _launch_waiting(self) -> None:
        while self._waiting and len(self._out) < WINDOW:
            flight, timeout = self._waiting.popleft()
            self._launch(flight, timeout)

    def _launch(self, flight: _Flight, timeout: float, repeat: bool = True) -> None:
        flight.sent_at = time.monotonic()
        flight.deadline = flight.sent_at + timeout
        self._out.add(flight)
        self._send(flight, LOCAL_RETRIES)
        for part in REPEATS if repeat else ():
            self._at(flight.sent_at + timeout * part, lambda: self._repeat(flight))
        self._at(flight.deadline, lambda: self._expire(flight))

    def _send(self, flight: _Flight, retries: int) -> None:
        """Open a socket in the source's namespace; local trouble is tried again: it is not policy."""
        if flight not in self._out:
            return
        try:
            netns.enter(flight.probe.netns)
            each = attempt(flight.probe, self._ports.take)
        except OSError as error:
            if retries and error.errno not in (2,):  # ENOENT: the source's namespace is gone
                self._at(time.monotonic() + 0.02, lambda: self._send(flight, retries - 1))
            else:
                self._finish(flight, (Outcome.FAILED, "", str(error)))
            return
        finally:
            self._go_home()
        flight.attempts.append(each)
        if each.early:
            self._judge(flight, each, each.early, retries)
            return
        self._by_descriptor[each.sock.fileno()] = (flight, each)
        self._poll.register(each.sock.fileno(), select.EPOLLOUT if each.wants_write else select.EPOLLIN)

    def _go_home(self) -> None:
        # A thread that stayed in a namespace would keep it alive after its pod is gone.
        netns.enter(f"/proc/self/fd/{self._home}")

    def _repeat(self, flight: _Flight) -> None:
        if flight not in self._out:
            return
        if isinstance(flight.attempts[-1] if flight.attempts else None, TcpAttempt) or not flight.attempts:
            if not any(isinstance(each, TcpAttempt) and each.connected for each in flight.attempts):
                self._send(flight, LOCAL_RETRIES)
            return
        each = flight.attempts[-1]
        assert not isinstance(each, TcpAttempt)
        each.repeat()

    def _event(self, flight: _Flight, each: Attempt) -> None:
        waited_to_write = each.wants_write
        verdict = each.on_event()
        if verdict:
            self._judge(flight, each, verdict, 0)
        elif waited_to_write and not each.wants_write:
            self._poll.modify(each.sock.fileno(), select.EPOLLIN)

    def _judge(self, flight: _Flight, each: Attempt, verdict: Verdict, retries: int) -> None:
        if verdict[0] is Outcome.FAILED and retries:
            self._drop(flight, each)
            self._at(time.monotonic() + 0.02, lambda: self._send(flight, retries - 1))
            return
        self._finish(flight, verdict)

    def _expire(self, flight: _Flight) -> None:
        if flight in self._out:
            connected = any(isinstance(each, TcpAttempt) and each.connected for each in flight.attempts)
            self._finish(flight, (Outcome.MUTE if connected else Outcome.TIMEOUT, "", ""))

    def _drop(self, flight: _Flight, each: Attempt) -> None:
        if self._by_descriptor.pop(each.sock.fileno(), None):
            self._poll.unregister(each.sock.fileno())
        each.close()
        flight.attempts.remove(each)

    def _finish(self, flight: _Flight, verdict: Verdict) -> None:
        if flight not in self._out:
            return
        self._out.discard(flight)
        for each in list(flight.attempts):
            self._drop(flight, each)
        outcome, answer, detail = verdict
        flight.done(Result(flight.probe, outcome, flight.sent_at, time.monotonic(), answer, detail))
