"""``antctl get addressgroup|appliedtogroup``: the members of the groups that policies refer to."""

from __future__ import annotations

import base64
import ipaddress
from typing import Any

import click

from antctl.cli import leaf
from antctl.commands import Spec
from antctl.mode import Mode
from antctl.output import decode, write
from antctl.output.table import render, summarize
from antctl.session import Session, resource_name

BASE = "/apis/controlplane.antrea.io/v1beta2"
_REFERENCES = ("pod", "externalEntity", "node", "service")


def build(spec: Spec, mode: Mode) -> click.Command:
    addresses = spec.name == "addressgroup"
    plural = spec.aliases[0]
    options = [
        click.Option(["--sort-by"], default="", metavar="JSONPATH", help="sort by this field (json, yaml)")
    ]

    def run(session: Session, flags: dict[str, str], names: list[str], form: str) -> str:
        sort_by = flags.pop("sort-by", "")
        if mode.letter == "A":
            answer = decode(session.get(f"/{plural}", {"name": names[0]} if names else None))
        else:
            path = f"{BASE}/{plural}/{resource_name(names[0])}" if names else f"{BASE}/{plural}"
            answer = decode(session.resource(path, flags))

        def table(value: Any) -> str:
            groups = value if isinstance(value, list) else [value]
            if addresses:
                rows = [(group["name"], _ips(group, "pods"), _ips(group, "nodes")) for group in groups]
                return render(("NAME", "POD-IPS", "NODE-IPS"), rows, sort=True)
            return render(("NAME", "PODS"), [(group["name"], _pods(group)) for group in groups], sort=True)

        if "items" not in answer:
            return write(transform(answer), form, table)
        items = answer["items"] or []
        if not items:
            return write("", form, lambda _: "\n\n")
        from antctl import sorting

        return write([transform(item) for item in sorting.groups(items, sort_by)], form, table)

    return leaf(spec, mode, run, options=options, argument="name")


def transform(group: dict[str, Any]) -> dict[str, Any]:
    """A group with its members told apart (Pods, Nodes) and their addresses as text."""
    shown: dict[str, Any] = {"name": group["metadata"]["name"]}
    for member in group.get("groupMembers") or ():
        kind = "nodes" if "node" in member else "pods"
        shown.setdefault(kind, []).append(_member(member))
    return shown


def _member(member: dict[str, Any]) -> dict[str, Any]:
    shown = {name: member[name] for name in _REFERENCES if member.get(name)}
    if member.get("ips"):
        shown["ip"] = ", ".join(address(encoded) for encoded in member["ips"])
    if member.get("ports"):
        shown["ports"] = member["ports"]
    return shown


def address(encoded: str) -> str:
    """The text of an address of 4 or 16 bytes in base64; IPv4 inside IPv6 prints as IPv4."""
    try:
        value = ipaddress.ip_address(base64.b64decode(encoded))
    except ValueError:
        return encoded
    mapped = value.ipv4_mapped if isinstance(value, ipaddress.IPv6Address) else None
    return str(mapped or value)


def _ips(group: dict[str, Any], kind: str) -> str:
    return summarize(member["ip"] for member in group.get(kind, ()) if member.get("ip"))


def _pods(group: dict[str, Any]) -> str:
    names = []
    for member in group.get("pods", ()):
        reference = next((member[name] for name in _REFERENCES if name in member), None)
        if reference:
            names.append("/".join(filter(None, (reference.get("namespace"), reference.get("name")))))
    return summarize(names)
