"""The process: flags, state on disk, sockets, an orderly end.

State directory: pki/ (see lab.api.pki), objects/ (see lab.api.journal), kubeconfig (0600), ready (the
addresses it listens on, one a line; there once it serves). A process that was killed is started again with
the same flags and goes on where it was.
"""

from __future__ import annotations

import argparse
import gc
import ipaddress
import pathlib
import socket
import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from apiserver.listener import Listener
from lab.api import credentials, manifests
from lab.api.cluster import Cluster, Network
from lab.api.journal import Journal
from lab.api.pki import ClusterKeys, write_private
from runtime import log, process
from runtime.errors import ConfigurationError
from runtime.tasks import OnCrash, Supervisor

logger = log.get("lab.api")
_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass
class Options:
    """What the command line says."""

    state_dir: pathlib.Path
    listen_fds: list[int] = field(default_factory=list)
    listen: list[tuple[str, int]] = field(default_factory=list)
    cluster_cidrs: list[Network] = field(default_factory=list)
    service_cidrs: list[Network] = field(default_factory=list)
    load: list[pathlib.Path] = field(default_factory=list)
    save: pathlib.Path | None = None
    scheduler: bool = True


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    try:
        ipaddress.ip_address(host)
        number = int(port)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no ADDRESS:PORT (an IPv6 address goes in brackets)"
        ) from None
    return host, number


def _networks(text: str) -> list[Network]:
    try:
        networks = [ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of CIDRs: {error}") from None
    if len({network.version for network in networks}) != len(networks):
        raise argparse.ArgumentTypeError(f"{text!r} names more than one CIDR of an address family")
    return networks


def parse(arguments: Sequence[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m lab.api", description="The Kubernetes API of a lab, in memory."
    )
    parser.add_argument(
        "--state-dir", type=pathlib.Path, required=True, help="keys, objects and the kubeconfig"
    )
    parser.add_argument(
        "--listen-fd",
        type=int,
        action="append",
        default=[],
        metavar="N",
        help="an inherited listening socket",
    )
    parser.add_argument("--listen", type=_address, action="append", default=[], metavar="ADDR:PORT")
    parser.add_argument(
        "--cluster-cidr",
        type=_networks,
        default="10.10.0.0/16",
        metavar="CIDR[,CIDR]",
        help="pod addresses, one CIDR for each family",
    )
    parser.add_argument("--service-cidr", type=_networks, default="10.96.0.0/16", metavar="CIDR[,CIDR]")
    parser.add_argument(
        "--load",
        type=pathlib.Path,
        action="append",
        default=[],
        metavar="DIR|FILE",
        help="manifests to apply at the first start",
    )
    parser.add_argument(
        "--save", type=pathlib.Path, metavar="DIR", help="where to write the objects as manifests at the end"
    )
    parser.add_argument(
        "--no-scheduler",
        dest="scheduler",
        action="store_false",
        help="leave pods without a node to somebody else",
    )
    given = parser.parse_args(arguments)
    if not given.listen and not given.listen_fd:
        given.listen = [("127.0.0.1", 0)]
    return Options(
        given.state_dir,
        given.listen_fd,
        given.listen,
        given.cluster_cidr,
        given.service_cidr,
        given.load,
        given.save,
        given.scheduler,
    )


def main() -> int:
    log.setup()
    options = parse()

    async def run(supervisor: Supervisor) -> None:
        try:
            await serve(options, supervisor)
        except OSError as error:
            raise ConfigurationError(f"--state-dir {options.state_dir}: {error}") from error

    return process.run("lab.api", run)


async def serve(options: Options, supervisor: Supervisor) -> Cluster:
    """Starts everything; returns once it serves. The supervisor ends it."""
    # Documents are trees: reference counting frees them, and the collector need not walk them all the time.
    gc.set_threshold(100_000, 50, 1000)
    # Large objects are worked on in threads; each of the loop's system calls has to win the interpreter back.
    sys.setswitchinterval(0.0005)
    state = options.state_dir
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    (state / "ready").unlink(missing_ok=True)
    keys = ClusterKeys.ensure(state / "pki")
    journal = Journal(state / "objects")
    entries, highest = journal.load()
    cluster = Cluster(keys, options.cluster_cidrs, options.service_cidrs, highest, options.scheduler)
    cluster.restore(entries)
    cluster.furnish()
    cluster.aggregate(supervisor)
    if not entries:
        for path in options.load:
            try:
                count = manifests.load(cluster, path)
            except (OSError, manifests.ManifestError) as error:
                raise ConfigurationError(f"--load {path}: {error}") from error
            logger.info("loaded %d objects from %s", count, path)
    journal.begin(cluster.entries())
    cluster.follow(journal)
    supervisor.start("reactor", cluster.reactor.run, OnCrash.END)
    supervisor.start("housekeeping", cluster.housekeeping.run, OnCrash.RESTART)
    gc.freeze()

    sockets = [_inherited(number) for number in options.listen_fds]
    names = [*_NAMES, "127.0.0.1", "::1", *(str(network[1]) for network in options.service_cidrs)]
    names += [sock.getsockname()[0] for sock in sockets] + [host for host, _ in options.listen]
    tls = keys.serving_context(sorted({name for name in names if name not in ("0.0.0.0", "::")}))
    listener = Listener(cluster.server)
    addresses = await _listen(listener, sockets, options.listen, tls)

    async def stop() -> None:
        await listener.close(grace=2.0)
        if options.save is not None:
            manifests.save(cluster, options.save)
        journal.close()

    supervisor.on_close("listener", stop)
    urls = [_url(address) for address in addresses]
    config = state / "kubeconfig"
    credentials.write_admin(state, urls[0], config)
    write_private(state / "ready", "".join(f"{url}\n" for url in urls).encode())
    logger.info("serving on %s, kubeconfig %s", ", ".join(urls), config)
    return cluster


def _inherited(number: int) -> socket.socket:
    try:
        return socket.socket(fileno=number)
    except OSError as error:
        raise ConfigurationError(
            f"--listen-fd {number}: {error.strerror}: the parent has to pass an open socket"
        ) from error


async def _listen(
    listener: Listener, sockets: list[socket.socket], addresses: list[tuple[str, int]], tls: ssl.SSLContext
) -> list[tuple[str, int]]:
    found = [await listener.listen(sock=sock, tls=tls) for sock in sockets]
    for host, port in addresses:
        try:
            found.append(await listener.listen(host, port, tls=tls))
        except ConfigurationError as error:
            raise ConfigurationError(f"--listen {host}:{port}: {error}") from error
    return found


def _url(address: tuple[str, int]) -> str:
    host, port = address
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
