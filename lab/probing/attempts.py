"""One probe's packets on their way: sockets, and what their events mean. No waiting happens here.

A probe sends again while it waits, because a single lost packet is not policy: TCP tries once more from
another port, UDP and SCTP repeat the packet. Each repetition is judged by policy anew, so that repeating
can only reveal a hole, never hide one.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable

from lab.nodes import sctp
from lab.probing.model import Outcome, Probe

QUESTION = b"?\n"
_LINGER_RESET = struct.pack("ii", 1, 0)  # close with RST: no TIME_WAIT, and connection tracking forgets soon
_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM}
PORT_TRIES = 20

Verdict = tuple[Outcome, str, str]  # outcome, answer, detail


def judge_error(code: int) -> Verdict:
    if code in (errno.ECONNREFUSED, errno.ENOPROTOOPT):  # the latter: the host has no SCTP at all
        return (Outcome.REFUSED, "", "nobody listens there")
    if code in _UNREACHABLE:
        return (Outcome.UNREACHABLE, "", errno.errorcode[code])
    return (Outcome.FAILED, "", errno.errorcode.get(code, str(code)))


def judge_answer(probe: Probe, data: bytes) -> Verdict:
    answer = data.decode(errors="replace").strip().partition("\n")[0]
    if probe.expect is None or answer == probe.expect:
        return (Outcome.ALLOWED, answer, "")
    return (Outcome.STRANGER, answer, f"{answer} answered instead of {probe.expect}")


def _bound(probe: Probe, kind: int, next_port: Callable[[str], int]) -> socket.socket:
    """A non-blocking socket on a fresh port, made in the namespace in which the thread is."""
    family = socket.AF_INET6 if ":" in probe.address else socket.AF_INET
    sock = socket.socket(family, kind)
    sock.setblocking(False)
    try:
        for tried in range(PORT_TRIES):
            try:
                sock.bind(("", next_port(probe.source)))
                return sock
            except OSError as error:
                if error.errno != errno.EADDRINUSE or tried == PORT_TRIES - 1:
                    raise
    except OSError:
        sock.close()
        raise
    raise AssertionError("unreachable")


class TcpAttempt:
    """A connection attempt: writable means that the handshake ended, readable that the answer is there."""

    def __init__(self, probe: Probe, next_port: Callable[[str], int]) -> None:
        self.probe = probe
        self.connected = False
        self.sock = _bound(probe, socket.SOCK_STREAM, next_port)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        code = self.sock.connect_ex((probe.address, probe.port))
        self.early: Verdict | None = None if code in (0, errno.EINPROGRESS) else judge_error(code)

    def on_event(self) -> Verdict | None:
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            return judge_error(code)
        try:
            if not self.connected:
                self.sock.send(QUESTION)
                self.connected = True
                return None
            data = self.sock.recv(512)
        except BlockingIOError:
            return None
        except OSError as error:
            if self.connected:
                return (Outcome.MUTE, "", errno.errorcode.get(error.errno or 0, ""))
            return judge_error(error.errno or 0)
        return judge_answer(self.probe, data) if data else (Outcome.MUTE, "", "closed without an answer")

    @property
    def wants_write(self) -> bool:
        return not self.connected

    def close(self) -> None:
        self.sock.close()


class UdpAttempt:
    """A datagram and its repetitions, from one port. Connected, so that ICMP errors come back."""

    def __init__(self, probe: Probe, next_port: Callable[[str], int]) -> None:
        self.probe = probe
        self.sock = _bound(probe, socket.SOCK_DGRAM, next_port)
        self.early: Verdict | None = None
        try:
            self.sock.connect((probe.address, probe.port))
        except OSError as error:
            self.early = judge_error(error.errno or 0)
        self.repeat()

    def repeat(self) -> None:
        try:
            self.sock.send(QUESTION)
        except BlockingIOError:
            pass
        except OSError as error:
            self.early = self.early or judge_error(error.errno or 0)

    def on_event(self) -> Verdict | None:
        try:
            return judge_answer(self.probe, self.sock.recv(512))
        except BlockingIOError:
            return None
        except OSError as error:
            return judge_error(error.errno or 0)

    @property
    def wants_write(self) -> bool:
        return False

    def close(self) -> None:
        self.sock.close()


class SctpAttempt:
    """An INIT and its repetitions over a raw socket of its own; everything else that arrives is skipped."""

    def __init__(self, probe: Probe, next_port: Callable[[str], int]) -> None:
        self.probe = probe
        self._port = next_port(probe.source)
        self._tag = (self._port << 16 | probe.port) | 1
        self._address = socket.getaddrinfo(probe.address, None, flags=socket.AI_NUMERICHOST)[0][4][0]
        family = socket.AF_INET6 if ":" in probe.address else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_RAW, sctp.PROTOCOL)
        self.sock.setblocking(False)
        self.early: Verdict | None = None
        try:
            self.sock.connect((probe.address, 0))  # the kernel hands over only what this peer sends
        except OSError as error:
            self.early = judge_error(error.errno or 0)
        self.repeat()

    def repeat(self) -> None:
        packet = sctp.Packet(self._port, self.probe.port, 0, sctp.INIT, self._tag)
        try:
            self.sock.send(sctp.encode(packet))
        except BlockingIOError:
            pass
        except OSError as error:
            self.early = self.early or judge_error(error.errno or 0)

    def on_event(self) -> Verdict | None:
        try:
            while True:
                data = self.sock.recv(4096)
                if self.sock.family == socket.AF_INET:
                    data = sctp.ip_payload(data)
                packet = sctp.decode(data)
                if (
                    packet is None
                    or (packet.source_port, packet.destination_port) != (self.probe.port, self._port)
                    or packet.tag != self._tag
                ):
                    continue
                if packet.chunk == sctp.INIT_ACK:
                    return judge_answer(self.probe, packet.cookie)
                if packet.chunk == sctp.ABORT:
                    return (Outcome.REFUSED, "", "nobody listens there")
        except BlockingIOError:
            return None
        except OSError as error:
            return judge_error(error.errno or 0)

    @property
    def wants_write(self) -> bool:
        return False

    def close(self) -> None:
        self.sock.close()


Attempt = TcpAttempt | UdpAttempt | SctpAttempt


def attempt(probe: Probe, next_port: Callable[[str], int]) -> Attempt:
    """Send the first packet. The calling thread must be in the probe's namespace."""
    if probe.protocol == "TCP":
        return TcpAttempt(probe, next_port)
    if probe.protocol == "UDP":
        return UdpAttempt(probe, next_port)
    if probe.protocol == "SCTP":
        return SctpAttempt(probe, next_port)
    raise ValueError(f"unknown protocol {probe.protocol!r}; known are TCP, UDP and SCTP")
