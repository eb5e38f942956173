"""``antctl proxy``: the API of the controller or of a Node's agent at a local address."""

from __future__ import annotations

from pathlib import Path

import click

from antctl.cli import duration, leaf
from antctl.commands import Spec
from antctl.errors import CommandError
from antctl.mode import Mode
from antctl.session import Session

# As kubectl proxy's.
ACCEPT_PATHS = "^.*"
REJECT_PATHS = "^/api/.*/pods/.*/exec,^/api/.*/pods/.*/attach"
ACCEPT_HOSTS = r"^localhost$,^127\.0\.0\.1$,^\[::1\]$"
REJECT_METHODS = "^$"
PORT = "8001"


def build(spec: Spec, mode: Mode) -> click.Command:
    def option(*names: str, default: str = "", help: str, metavar: str) -> click.Option:
        return click.Option(
            list(names), default=default, show_default=bool(default), help=help, metavar=metavar
        )

    options = [
        click.Option(["--controller"], is_flag=True, help="the API of antrea-controller (the default)"),
        option("--agent-node", metavar="NODE", help="the API of the agent on this Node"),
        click.Option(["--insecure"], is_flag=True, help="do not verify the server's certificate"),
        option("-p", "--port", default=PORT, metavar="PORT", help="listen here; 0: on a free port"),
        option("--address", default="127.0.0.1", metavar="IP", help="the address to listen on"),
        option("-u", "--unix-socket", metavar="PATH", help="listen on a Unix socket instead"),
        option("--api-prefix", default="/", metavar="PATH", help="serve the API below this path"),
        option("-w", "--www", metavar="DIRECTORY", help="also serve the files of this directory"),
        option(
            "-P", "--www-prefix", default="/static/", metavar="PATH", help="serve the files below this path"
        ),
        option("--accept-hosts", default=ACCEPT_HOSTS, metavar="REGEXES", help="hosts that are let through"),
        option("--accept-paths", default=ACCEPT_PATHS, metavar="REGEXES", help="paths that are let through"),
        option("--reject-paths", default=REJECT_PATHS, metavar="REGEXES", help="paths that are not"),
        option("--reject-methods", default=REJECT_METHODS, metavar="REGEXES", help="methods that are not"),
        click.Option(["--disable-filter"], is_flag=True, help="let every request through; dangerous"),
        option("--keepalive", default="0", metavar="DURATION", help="TCP keep-alive of clients; 0: none"),
    ]
    return leaf(spec, mode, run, options=options, output=None)


def run(session: Session, flags: dict[str, str], names: list[str], form: str) -> str:
    import asyncio

    if names:
        raise CommandError(f'unknown command "{names[0]}" for "antctl proxy"')
    if session.mode.in_pod:
        raise CommandError("only remote mode is supported for this command")
    node = flags.get("agent-node", "")
    if "controller" in flags and node:
        raise CommandError("cannot use --controller and --agent-node at the same time")
    if flags.get("unix-socket") and flags["port"] != PORT:
        raise CommandError("cannot set --unix-socket and --port at the same time")
    from antctl import agent, controller
    from antctl.proxy import server
    from antctl.proxy.filters import Filter, patterns
    from antctl.proxy.target import Target

    settings = server.Settings(
        address=flags.get("address", ""),
        port=_port(flags["port"]),
        unix_socket=flags.get("unix-socket", ""),
        api_prefix=_prefix(flags.get("api-prefix", "")),
        files=_directory(flags["www"]) if "www" in flags else None,
        files_prefix=_prefix(flags.get("www-prefix", "")),
        keep_alive=duration(flags.get("keepalive", "0"), "--keepalive"),
    )
    keys = ("accept-paths", "reject-paths", "accept-hosts", "reject-methods")
    chosen = Filter(*(patterns(key, flags.get(key, "")) for key in keys))
    if "disable-filter" in flags and not settings.unix_socket:
        click.echo(
            "Every request is let through: any web page that this machine shows can use the proxy.", err=True
        )
    insecure = "insecure" in flags
    target = (
        Target(lambda: agent.direct(session, node, insecure), own_credentials=True)
        if node
        else Target(lambda: controller.direct(session, insecure), own_credentials=False)
    )
    proxy = server.Proxy(target, settings, None if "disable-filter" in flags else chosen)
    asyncio.run(server.run(proxy, settings, lambda address: click.echo(f"Starting to serve on {address}")))
    return ""


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= 65535):
        raise CommandError(f'invalid argument "{text}" for "-p, --port" flag: a port is 0 to 65535')
    return int(text)


def _prefix(text: str) -> str:
    return "/" + "".join(f"{part}/" for part in text.split("/") if part)


def _directory(text: str) -> Path:
    place = Path(text).resolve()
    if not place.is_dir():
        raise CommandError(f"--www: {text} is no directory")
    return place
