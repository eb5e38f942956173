"""What a pod of the lab does: answers on its declared ports with its own name.

TCP    each line (or piece of a line) that arrives is answered with ``NAMESPACE/POD`` and a line feed, on the
       same connection for as long as the client likes; a request that begins like HTTP gets a 200.
       ``push MILLISECONDS`` makes the server send a line at that interval without being asked.
UDP    each datagram is answered with the name.
SCTP   INIT is answered with INIT-ACK, whose state cookie is the name; on other ports with ABORT.

Runs in a process of its own in the pod's network namespace, forked by lab/nodes/runtime, which keeps the
imports of this module few: what is imported here is memory of every pod.
"""

from __future__ import annotations

import select
import socket
import struct
import time

from lab.nodes import sctp

Port = tuple[str, int]  # ("TCP", 80)
_IPV6_RECVPKTINFO = 49
_IPV6_PKTINFO = 50
MAX_CONNECTIONS = 500
IDLE_LIMIT = 3600.0


def _listening(kind: int, port: int) -> socket.socket:
    """A socket for both families, or for IPv4 alone where the namespace has no IPv6."""
    try:
        sock = socket.socket(socket.AF_INET6, kind)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        address = "::"
    except OSError:
        sock = socket.socket(socket.AF_INET, kind)
        address = "0.0.0.0"
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if kind == socket.SOCK_DGRAM and sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
    sock.setblocking(False)
    try:
        sock.bind((address, port))
    except OSError as error:
        raise OSError(error.errno, f"port {port} cannot be opened: {error.strerror}") from None
    return sock


class Responder:
    """Serves until it is killed. ``alone`` says that the namespace is the pod's own: then SCTP to an
    undeclared port is refused; in a node's namespace it may be another pod's port."""

    def __init__(self, name: str, ports: list[Port], alone: bool = True) -> None:
        self._reply = name.encode() + b"\n"
        self._alone = alone
        self._poll = select.epoll()
        self._tcp: dict[int, socket.socket] = {}
        self._udp: dict[int, socket.socket] = {}
        self._raw: dict[int, socket.socket] = {}
        self._connections: dict[int, tuple[socket.socket, float]] = {}
        self._pushing: dict[int, tuple[float, float]] = {}  # file descriptor → (interval, next time)
        self._sctp_ports = {port for protocol, port in ports if protocol == "SCTP"}
        for protocol, port in dict.fromkeys(ports):
            if protocol == "TCP":
                sock = _listening(socket.SOCK_STREAM, port)
                sock.listen(128)
                self._watch(self._tcp, sock)
            elif protocol == "UDP":
                self._watch(self._udp, _listening(socket.SOCK_DGRAM, port))
        if self._sctp_ports or alone:
            for family in (socket.AF_INET, socket.AF_INET6):
                try:
                    sock = socket.socket(family, socket.SOCK_RAW, sctp.PROTOCOL)
                except OSError:
                    continue  # no raw sockets of this family here: no SCTP over it
                sock.setblocking(False)
                self._watch(self._raw, sock)

    def _watch(self, kind: dict[int, socket.socket], sock: socket.socket) -> None:
        kind[sock.fileno()] = sock
        self._poll.register(sock.fileno(), select.EPOLLIN)

    def run(self) -> None:
        while True:
            for descriptor, _ in self._poll.poll(self._next_push()):
                try:
                    if descriptor in self._tcp:
                        self._accept(self._tcp[descriptor])
                    elif descriptor in self._udp:
                        self._datagram(self._udp[descriptor])
                    elif descriptor in self._raw:
                        self._sctp(self._raw[descriptor])
                    elif descriptor in self._connections:
                        self._converse(descriptor)
                except OSError:
                    self._close(descriptor)  # a peer that is gone, an unreachable one: nobody to tell
            self._push()

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        if len(self._connections) >= MAX_CONNECTIONS:
            oldest = min(self._connections, key=lambda fd: self._connections[fd][1])
            self._close(oldest)
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[connection.fileno()] = (connection, time.monotonic())
        self._poll.register(connection.fileno(), select.EPOLLIN)

    def _converse(self, descriptor: int) -> None:
        connection, _ = self._connections[descriptor]
        data = connection.recv(4096)
        if not data:
            self._close(descriptor)
        elif data.startswith((b"GET ", b"HEAD ", b"POST ")):
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n"
            head += b"Content-Length: %d\r\n\r\n"
            body = b"" if data.startswith(b"HEAD ") else self._reply
            connection.send(head % len(self._reply) + body)
            self._close(descriptor)
        elif data.startswith(b"push "):
            interval = max(1, int(data.split()[1])) / 1000 if data.split()[1:2][0].isdigit() else 0.1
            self._pushing[descriptor] = (interval, time.monotonic())
        else:
            self._connections[descriptor] = (connection, time.monotonic())
            connection.send(self._reply * max(1, data.count(b"\n")))

    def _close(self, descriptor: int) -> None:
        self._pushing.pop(descriptor, None)
        found = self._connections.pop(descriptor, None)
        if found:
            self._poll.unregister(descriptor)
            found[0].close()

    def _next_push(self) -> float:
        if not self._pushing:
            return -1
        return max(0.0, min(due for _, due in self._pushing.values()) - time.monotonic())

    def _push(self) -> None:
        now = time.monotonic()
        for descriptor, (interval, due) in list(self._pushing.items()):
            if due <= now:
                self._pushing[descriptor] = (
                    interval,
                    due + interval if due + interval > now else now + interval,
                )
                try:
                    self._connections[descriptor][0].send(self._reply)
                except BlockingIOError:
                    pass  # the peer does not take it at the moment
                except OSError:
                    self._close(descriptor)

    def _datagram(self, sock: socket.socket) -> None:
        _, ancillary, _, peer = sock.recvmsg(4096, 64)
        # Answer from the address that was asked: a node has several.
        control = [
            (level, kind, data[:16] + struct.pack("@I", 0))
            for level, kind, data in ancillary
            if level == socket.IPPROTO_IPV6 and kind == _IPV6_PKTINFO
        ]
        sock.sendmsg([self._reply], control, 0, peer)

    def _sctp(self, sock: socket.socket) -> None:
        data, peer = sock.recvfrom(4096)
        if sock.family == socket.AF_INET:
            data = sctp.ip_payload(data)
        packet = sctp.decode(data)
        if packet is None or packet.chunk != sctp.INIT:
            return
        answer = None
        if packet.destination_port in self._sctp_ports:
            answer = sctp.Packet(
                packet.destination_port,
                packet.source_port,
                packet.initiate_tag,
                sctp.INIT_ACK,
                1,
                self._reply[:-1],
            )
        elif self._alone:
            answer = sctp.Packet(packet.destination_port, packet.source_port, packet.initiate_tag, sctp.ABORT)
        if answer:
            sock.sendto(sctp.encode(answer), peer)
