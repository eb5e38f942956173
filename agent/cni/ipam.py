"""host-local IPAM: which address of the node's pod CIDRs belongs to which container.

Each reservation is a file named by the address, holding container ID and interface name, in the layout of the
CNI project's host-local plugin, so that either can take over the other's directory. Nothing is kept only in
memory that a restart would miss, and a process killed between any two writes leaves no address without an
owner and none with two:

- a file appears complete (written aside, then linked under its name, which fails if the name is taken);
- the position of the round robin moves before the reservation is made, never after.

An address comes back into use as late as possible: the round robin passes over addresses released since the
start while any other is free, and then takes the one released first.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.model import IPAddress, IPNetwork
from runtime import log

logger = log.get(__name__)

_LOCK = "lock"
_POSITION = "last_reserved_ip."  # + index of the family's range, as host-local numbers its range sets
_NEVER = -1
_REMEMBERED = 65536  # released addresses kept in mind for each range


class NoFreeAddress(Exception):
    """All addresses of a pod CIDR are reserved."""


@dataclass(frozen=True, slots=True)
class Owner:
    container_id: str
    ifname: str

    def encode(self) -> bytes:
        return f"{self.container_id}\r\n{self.ifname}".encode()


def _decode_owner(content: bytes) -> Owner:
    """Never fails: a file that cannot be understood reserves its address for nobody that a DEL names."""
    container_id, _, ifname = content.decode(errors="replace").strip().partition("\n")
    return Owner(container_id.strip(), ifname.strip())


class _Range:
    """The addresses of one pod CIDR that pods can have: not the network's, the gateway's, the broadcast's."""

    def __init__(self, index: int, cidr: IPNetwork) -> None:
        self.index = index
        self.cidr = cidr
        self.first = cidr[2]
        self.last = cidr[-2] if cidr.version == 4 else cidr[-1]
        self.released: OrderedDict[IPAddress, None] = OrderedDict()

    def after(self, position: IPAddress | None) -> Iterator[IPAddress]:
        """All addresses once, beginning behind ``position``."""
        first, last = int(self.first), int(self.last)
        start = int(position) + 1 if position is not None and first <= int(position) < last else first
        make = ipaddress.IPv4Address if self.cidr.version == 4 else ipaddress.IPv6Address
        for number in range(start, last + 1):
            yield make(number)
        for number in range(first, start):
            yield make(number)

    def note_released(self, ip: IPAddress) -> None:
        self.released.pop(ip, None)
        self.released[ip] = None
        if len(self.released) > _REMEMBERED:
            self.released.popitem(last=False)


class HostLocalIPAM:
    """One directory of reservations, for one or two pod CIDRs. Synchronous: call it in a thread."""

    def __init__(self, directory: str | Path, pod_cidrs: Sequence[IPNetwork]) -> None:
        """``directory`` is made when it is needed. Raises ValueError for a CIDR without room for a pod."""
        self.directory = Path(directory)
        for cidr in pod_cidrs:
            if cidr.num_addresses < 4:
                raise ValueError(f"The podCIDR {cidr} has no room for a gateway and a pod.")
        self._ranges = [_Range(index, cidr) for index, cidr in enumerate(pod_cidrs)]
        self._reserved: dict[IPAddress, Owner] = {}
        self._seen_change = _NEVER  # mtime of the directory, ns
        self._mutex = threading.Lock()
        self._unread: set[str] = set()  # files that have been complained of

    def allocate(self, container_id: str, ifname: str = "eth0") -> tuple[IPAddress, ...]:
        """One address of each CIDR. Asked again for the same interface, the same ones. Raises NoFreeAddress
        (then nothing is reserved that was not before) and OSError."""
        owner = Owner(container_id, ifname)
        taken: list[IPAddress] = []
        with self._locked():
            present = {ip for ip, other in self._reserved.items() if other == owner}
            addresses = []
            try:
                for span in self._ranges:
                    ip = next((ip for ip in present if ip in span.cidr), None)
                    if ip is None:
                        ip = self._reserve(span, owner)
                        taken.append(ip)
                    addresses.append(ip)
            except (NoFreeAddress, OSError):
                for ip in taken:
                    self._free(ip)
                raise
            return tuple(addresses)

    def release(self, container_id: str, ifname: str = "eth0") -> tuple[IPAddress, ...]:
        """Free what the interface has; none is fine. Raises OSError."""
        owner = Owner(container_id, ifname)
        with self._locked():
            addresses = tuple(ip for ip, other in self._reserved.items() if other == owner)
            for ip in addresses:
                self._free(ip)
            return addresses

    def addresses(self, container_id: str, ifname: str = "eth0") -> tuple[IPAddress, ...]:
        """What the interface has, IPv4 first."""
        owner = Owner(container_id, ifname)
        with self._locked():
            found = [ip for ip, other in self._reserved.items() if other == owner]
        return tuple(sorted(found, key=lambda ip: ip.version))

    def collect(self, keep: Collection[IPAddress]) -> tuple[IPAddress, ...]:
        """Free every address that is not in ``keep``: what a crash or a lost DEL has left behind."""
        with self._locked():
            leaked = tuple(ip for ip in self._reserved if ip not in keep)
            for ip in leaked:
                self._free(ip)
            return leaked

    @property
    def reservations(self) -> dict[IPAddress, Owner]:
        with self._locked():
            return dict(self._reserved)

    # Everything below runs with the lock held.

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._mutex:
            self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            fd = os.open(self.directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                if self._seen_change == _NEVER:
                    self._remove_leftovers()
                if self.directory.stat().st_mtime_ns != self._seen_change:
                    self._load()
                yield
                self._seen_change = self.directory.stat().st_mtime_ns
            except BaseException:
                self._seen_change = _NEVER  # half-way: read the directory again before the next step
                raise
            finally:
                os.close(fd)

    def _load(self) -> None:
        self._reserved = {}
        for entry in os.scandir(self.directory):
            try:
                ip = ipaddress.ip_address(entry.name)
            except ValueError:
                continue
            try:
                self._reserved[ip] = owner = _decode_owner(Path(entry.path).read_bytes())
            except FileNotFoundError:
                continue
            if not owner.container_id or not owner.container_id.isprintable():
                self._complain(entry.path, "it names no container: the address stays reserved")

    def _remove_leftovers(self) -> None:
        for path in self.directory.glob(".new-*"):
            path.unlink(missing_ok=True)

    def _reserve(self, span: _Range, owner: Owner) -> IPAddress:
        ip = self._choose(span)
        self._write(f"{_POSITION}{span.index}", str(ip).encode(), replace=True)
        self._write(str(ip), owner.encode(), replace=False)
        self._reserved[ip] = owner
        span.released.pop(ip, None)
        return ip

    def _choose(self, span: _Range) -> IPAddress:
        for ip in span.after(self._position(span)):
            if ip not in self._reserved and ip not in span.released:
                return ip
        for ip in span.released:  # released first comes first
            if ip not in self._reserved:
                return ip
        raise NoFreeAddress(f"No address of {span.cidr} is free: all are reserved in {self.directory}.")

    def _position(self, span: _Range) -> IPAddress | None:
        path = self.directory / f"{_POSITION}{span.index}"
        try:
            ip = ipaddress.ip_address(path.read_text().strip())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._complain(str(path), f"{error}: the search for a free address begins with the first")
            return None
        return ip if ip.version == span.cidr.version else None

    def _complain(self, path: str, what: str) -> None:
        """Once for each file."""
        if path not in self._unread:
            self._unread.add(path)
            logger.warning("The file %s of the address store cannot be used: %s", path, what)

    def _free(self, ip: IPAddress) -> None:
        (self.directory / str(ip)).unlink(missing_ok=True)
        self._reserved.pop(ip, None)
        for span in self._ranges:
            if ip in span.cidr:
                span.note_released(ip)

    def _write(self, name: str, content: bytes, *, replace: bool) -> None:
        fd, aside = tempfile.mkstemp(prefix=".new-", dir=self.directory)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(content)
            if replace:
                os.replace(aside, self.directory / name)
            else:
                os.link(aside, self.directory / name)
        finally:
            Path(aside).unlink(missing_ok=True)
