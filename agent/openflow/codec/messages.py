"""Whole messages to send. Each function gives the bytes of one OpenFlow 1.5 message."""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from agent.openflow.codec import actions as a
from agent.openflow.codec.errors import CodecError

VERSION = 6

HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, EXPERIMENTER, FEATURES_REQUEST, FEATURES_REPLY = range(7)
GET_CONFIG_REQUEST, GET_CONFIG_REPLY, SET_CONFIG, PACKET_IN, FLOW_REMOVED, PORT_STATUS, PACKET_OUT = range(
    7, 14
)
FLOW_MOD, GROUP_MOD, PORT_MOD, TABLE_MOD, MULTIPART_REQUEST, MULTIPART_REPLY = range(14, 20)
BARRIER_REQUEST, BARRIER_REPLY = 20, 21
ROLE_REQUEST, ROLE_REPLY, GET_ASYNC_REQUEST, GET_ASYNC_REPLY, SET_ASYNC, METER_MOD = range(24, 30)
BUNDLE_CONTROL, BUNDLE_ADD = 33, 34

NX_SET_PACKET_IN_FORMAT, NX_SET_CONTROLLER_ID, NX_RESUME, NX_PACKET_IN2 = 16, 20, 28, 30

NO_BUFFER = 0xFFFFFFFF
MAX_LENGTH = 0xFFFF
ALL_TABLES = 0xFF


class FlowCommand(enum.IntEnum):
    ADD = 0
    MODIFY = 1
    MODIFY_STRICT = 2
    DELETE = 3
    DELETE_STRICT = 4


class Multipart(enum.IntEnum):
    DESC = 0
    FLOW_DESC = 1
    AGGREGATE = 2
    TABLE = 3
    PORT_STATS = 4
    GROUP_STATS = 6
    GROUP_DESC = 7
    METER_STATS = 9
    METER_CONFIG = 10
    TABLE_FEATURES = 12
    PORT_DESC = 13
    FLOW_MONITOR = 16


class BundleControl(enum.IntEnum):
    OPEN_REQUEST = 0
    OPEN_REPLY = 1
    CLOSE_REQUEST = 2
    CLOSE_REPLY = 3
    COMMIT_REQUEST = 4
    COMMIT_REPLY = 5
    DISCARD_REQUEST = 6
    DISCARD_REPLY = 7


ATOMIC, ORDERED = 1, 2

_HEADER = struct.Struct("!BBHI")


def message(kind: int, xid: int, body: bytes = b"") -> bytes:
    length = 8 + len(body)
    if length > MAX_LENGTH:
        raise CodecError(f"a message of type {kind} would be {length} bytes long; {MAX_LENGTH} is the limit")
    return _HEADER.pack(VERSION, kind, length, xid) + body


def hello(xid: int) -> bytes:
    """Offers OpenFlow 1.5 and nothing else."""
    return message(HELLO, xid, struct.pack("!HHI", 1, 8, 1 << VERSION))


def echo_request(xid: int, data: bytes = b"") -> bytes:
    return message(ECHO_REQUEST, xid, data)


def echo_reply(xid: int, data: bytes = b"") -> bytes:
    return message(ECHO_REPLY, xid, data)


def features_request(xid: int) -> bytes:
    return message(FEATURES_REQUEST, xid)


def barrier_request(xid: int) -> bytes:
    return message(BARRIER_REQUEST, xid)


def set_config(xid: int, miss_send_len: int = 0xFFFF) -> bytes:
    """Without it (or with 0) a connection to OVS's management socket gets no packet-ins and no port
    changes."""
    return message(SET_CONFIG, xid, struct.pack("!HH", 0, miss_send_len))


def role_request(xid: int, role: int, generation: int = 0) -> bytes:
    """Role 0 asks, 1 is equal, 2 master, 3 slave."""
    return message(ROLE_REQUEST, xid, struct.pack("!IH2xQ", role, 0xFFFF, generation))


def set_async(xid: int, masks: Iterable[tuple[int, int]]) -> bytes:
    """Which reasons of which asynchronous messages are wanted: (property, bit mask of reasons)."""
    return message(SET_ASYNC, xid, b"".join(struct.pack("!HHI", kind, 8, mask) for kind, mask in masks))


def experimenter(xid: int, subtype: int, body: bytes) -> bytes:
    return message(EXPERIMENTER, xid, struct.pack("!II", a.NICIRA, subtype) + body)


def set_packet_in_format(xid: int) -> bytes:
    """Asks for NXT_PACKET_IN2, the form that carries userdata and continuations."""
    return experimenter(xid, NX_SET_PACKET_IN_FORMAT, struct.pack("!I", 2))


def set_controller_id(xid: int, number: int) -> bytes:
    """Packets of ``controller(id=N)`` go only to connections that have said this with the same number."""
    return experimenter(xid, NX_SET_CONTROLLER_ID, struct.pack("!6xH", number))


def resume(xid: int, properties: bytes) -> bytes:
    """Lets a paused packet go on. ``properties``: those of the packet-in, as received."""
    return experimenter(xid, NX_RESUME, properties)


def match_field(match: bytes) -> bytes:
    """A match with its header and padding."""
    length = 4 + len(match)
    return struct.pack("!HH", 1, length) + match + bytes(-length % 8)


def packet_out(xid: int, packet: bytes, actions: bytes, match: bytes) -> bytes:
    """Sends a packet through actions. ``match`` holds in_port (codec.match.in_port) and may hold
    registers."""
    head = struct.pack("!IH2x", NO_BUFFER, len(actions))
    return message(PACKET_OUT, xid, head + match_field(match) + actions + packet)


# --- flows -------------------------------------------------------------------------------------------------

_FLOW_MOD = struct.Struct("!BBHIQQBBHHHIIIHHHH")
_PADDING = tuple(bytes(n) for n in range(8))


def flow_mod(
    xid: int, command: FlowCommand, key: bytes, body: bytes = b"", cookie: int = 0, cookie_mask: int = 0
) -> bytes:
    """One flow-mod by key (table, priority, match: see codec.flow)."""
    matched = 1 + len(key)  # the key has 3 bytes before the match, the match's header has 4
    length = 48 + matched + (-matched % 8) + len(body)
    if length > MAX_LENGTH:
        raise CodecError(f"a flow of {length} bytes does not fit into one message")
    return (
        _FLOW_MOD.pack(
            VERSION, FLOW_MOD, length, xid, cookie, cookie_mask, key[0], command, 0, 0, key[1] << 8 | key[2],
            NO_BUFFER, a.ANY, a.ANY, 0, 0, 1, matched,
        )
        + key[3:]
        + _PADDING[-matched % 8]
        + body
    )  # fmt: skip


def delete_all_flows(xid: int) -> bytes:
    return flow_mod(xid, FlowCommand.DELETE, bytes((ALL_TABLES, 0, 0)))


def delete_by_cookie(xid: int, cookie: int, mask: int) -> bytes:
    """Deletes the flows of every table whose cookie equals ``cookie`` in the bits of ``mask``."""
    return flow_mod(xid, FlowCommand.DELETE, bytes((ALL_TABLES, 0, 0)), cookie=cookie, cookie_mask=mask)


# bundle-add (header, bundle id, flags), then the flow-mod within it up to its match's header.
_BUNDLED_FLOW = struct.Struct("!BBHIIHHBBHIQQBBHHHIIIHHHH")


def bundled_flow_mods(bundle: int, flags: int) -> Callable[[int, int, int, bytes, bytes], bytes]:
    """The hot path: a function (xid, command, cookie, key, body) that packs a flow-mod into a bundle-add."""
    pack, padding, any_ = _BUNDLED_FLOW.pack, _PADDING, a.ANY

    def add(xid: int, command: int, cookie: int, key: bytes, body: bytes) -> bytes:
        matched = 1 + len(key)
        pad = -matched & 7
        length = 48 + matched + pad + len(body)
        if length > 0xFFEF:
            raise CodecError(f"a flow of {length} bytes does not fit into one message")
        return b"".join((
            pack(
                VERSION, BUNDLE_ADD, length + 16, xid, bundle, 0, flags,
                VERSION, FLOW_MOD, length, xid, cookie, 0, key[0], command, 0, 0, key[1] << 8 | key[2],
                NO_BUFFER, any_, any_, 0, 0, 1, matched,
            ),
            key[3:],
            padding[pad],
            body,
        ))  # fmt: skip

    return add


def bundle_control(xid: int, bundle: int, kind: BundleControl, flags: int = ATOMIC | ORDERED) -> bytes:
    """Flags must be the same in every message of a bundle, or OVS refuses it with (17,7)."""
    return message(BUNDLE_CONTROL, xid, struct.pack("!IHH", bundle, kind, flags))


def bundle_add(bundle: int, inner: bytes, flags: int = ATOMIC | ORDERED) -> bytes:
    """Puts a whole message into a bundle, under the message's own xid."""
    (xid,) = struct.unpack_from("!I", inner, 4)
    return message(BUNDLE_ADD, xid, struct.pack("!IHH", bundle, 0, flags) + inner)


# --- groups and meters -------------------------------------------------------------------------------------

GROUP_ADD, GROUP_MODIFY, GROUP_DELETE, GROUP_INSERT_BUCKET = 0, 1, 2, 3
GROUP_ALL, GROUP_SELECT, GROUP_INDIRECT, GROUP_FAST_FAILOVER = range(4)
GROUP_TYPE_NAMES = ("all", "select", "indirect", "fast_failover")
ALL_GROUPS = 0xFFFFFFFC
ALL_METERS = 0xFFFFFFFF
BUCKETS_PER_MESSAGE = 700
_LAST_BUCKET = 0xFFFFFFFE
_ALL_BUCKETS = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Bucket:
    """One alternative of a group: actions and, for select groups, a weight."""

    actions: bytes
    weight: int | None = None

    def encode(self, number: int) -> bytes:
        properties = struct.pack("!HHHH", 0, 8, self.weight, 0) if self.weight is not None else b""
        length = 8 + len(self.actions) + len(properties)
        return struct.pack("!HHI", length, len(self.actions), number) + self.actions + properties


@dataclass(frozen=True, slots=True)
class Group:
    """A group of buckets; bucket ids are their positions."""

    number: int
    kind: int = GROUP_ALL
    buckets: tuple[Bucket, ...] = ()

    @property
    def is_describable(self) -> bool:
        """OVS (seen on 3.1) answers a question for a group that exceeds one message with garbage."""
        return sum(16 + len(bucket.actions) for bucket in self.buckets) <= 0xF800


def group_mods(next_xid: Callable[[], int], command: int, group: Group) -> list[bytes]:
    """Adds, modifies or deletes a group; buckets that one message cannot carry follow in further messages."""
    if command == GROUP_DELETE:
        return [_group_mod(next_xid(), GROUP_DELETE, group, b"", _ALL_BUCKETS)]
    encoded = [bucket.encode(number) for number, bucket in enumerate(group.buckets)]
    sent: list[bytes] = []
    chunk: list[bytes] = []
    size = 0
    for bucket in encoded:
        if chunk and (len(chunk) == BUCKETS_PER_MESSAGE or size + len(bucket) > MAX_LENGTH - 64):
            sent.append(b"".join(chunk))
            chunk, size = [], 0
        chunk.append(bucket)
        size += len(bucket)
    sent.append(b"".join(chunk))
    first, *rest = sent
    return [
        _group_mod(next_xid(), command, group, first, _ALL_BUCKETS),
        *(_group_mod(next_xid(), GROUP_INSERT_BUCKET, group, part, _LAST_BUCKET) for part in rest),
    ]


def _group_mod(xid: int, command: int, group: Group, buckets: bytes, where: int) -> bytes:
    head = struct.pack("!HBxIH2xI", command, group.kind, group.number, len(buckets), where)
    return message(GROUP_MOD, xid, head + buckets)


METER_ADD, METER_MODIFY, METER_DELETE = 0, 1, 2
METER_KBPS, METER_PKTPS, METER_BURST = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Meter:
    """A limit: packets (or kilobits) per second, and how many at once. What is above is dropped."""

    number: int
    rate: int
    burst: int
    flags: int = field(default=METER_PKTPS | METER_BURST)


def meter_mod(xid: int, command: int, meter: Meter) -> bytes:
    band = b"" if command == METER_DELETE else struct.pack("!HHII4x", 1, 16, meter.rate, meter.burst)
    return message(METER_MOD, xid, struct.pack("!HHI", command, meter.flags, meter.number) + band)


# --- questions ---------------------------------------------------------------------------------------------


def multipart_request(xid: int, kind: Multipart, body: bytes = b"", more: bool = False) -> bytes:
    return message(MULTIPART_REQUEST, xid, struct.pack("!HH4x", kind, 1 if more else 0) + body)


def flow_desc_request(
    xid: int, table: int = ALL_TABLES, cookie: int = 0, cookie_mask: int = 0, match: bytes = b""
) -> bytes:
    """Asks for flows: of one table or all, whose cookie agrees, whose match contains ``match``."""
    head = struct.pack("!B3xII4xQQ", table, a.ANY, a.ANY, cookie, cookie_mask)
    return multipart_request(xid, Multipart.FLOW_DESC, head + match_field(match))


def group_desc_request(xid: int) -> bytes:
    return multipart_request(xid, Multipart.GROUP_DESC, struct.pack("!I4x", ALL_GROUPS))


def meter_config_request(xid: int) -> bytes:
    return multipart_request(xid, Multipart.METER_CONFIG, struct.pack("!I4x", ALL_METERS))


def port_desc_request(xid: int) -> bytes:
    return multipart_request(xid, Multipart.PORT_DESC, struct.pack("!I4x", a.ANY))


MONITOR_INITIAL, MONITOR_ADD, MONITOR_REMOVED, MONITOR_MODIFY, MONITOR_INSTRUCTIONS = 1, 2, 4, 8, 16


def flow_monitor_request(xid: int, monitor: int, table: int = ALL_TABLES, flags: int = 30) -> bytes:
    """From now on OVS tells about every change of flows (of a table), whoever makes it."""
    head = struct.pack("!IIIHBB", monitor, a.ANY, a.ANY, flags, table, 0)
    return multipart_request(xid, Multipart.FLOW_MONITOR, head + match_field(b""))
