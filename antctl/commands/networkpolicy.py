"""``antctl get networkpolicy``: policies as the controller computed them, or as the agent holds them."""

from __future__ import annotations

from typing import Any

import click

from antctl.cli import leaf
from antctl.commands import Spec
from antctl.errors import CommandError
from antctl.mode import Mode
from antctl.output import decode, write
from antctl.output.table import render, summarize
from antctl.session import Session, resource_name

PATH = "/apis/controlplane.antrea.io/v1beta2/networkpolicies"
TYPES = ("K8sNP", "ACNP", "ANNP", "BANP", "ANP")
HEADER = ("NAME", "APPLIED-TO", "RULES", "SOURCE", "TIER-PRIORITY", "PRIORITY")
CLUSTER_SCOPED = ("AntreaClusterNetworkPolicy", "K8sClusterNetworkPolicy")


def build(spec: Spec, mode: Mode) -> click.Command:
    options = [
        click.Option(
            ["--sort-by"],
            default="",
            metavar="JSONPATH",
            help="sort by this field; effectivePriority: in the order in which policies are enforced",
        )
    ]
    if mode.letter == "A":
        options += [
            click.Option(["-S", "--source"], default="", help="the name of the policy as its user wrote it"),
            click.Option(["-n", "--namespace"], default="", help="only policies of this Namespace"),
            click.Option(
                ["-p", "--pod"], default="", metavar="NAMESPACE/POD", help="only those applied to it"
            ),
            click.Option(["-T", "--type"], default="", help="|".join(TYPES)),
        ]
    return leaf(spec, mode, run, options=options, argument="name")


def run(session: Session, flags: dict[str, str], names: list[str], form: str) -> str:
    sort_by = flags.pop("sort-by", "")
    if flags.get("type") and flags["type"] not in TYPES:
        raise CommandError(f"unsupported value {flags['type']} for flag type")
    if session.mode.letter == "A":
        query = {**flags, **({"name": names[0]} if names else {})}
        answer = decode(session.get("/networkpolicies", query))
    else:
        path = f"{PATH}/{resource_name(names[0])}" if names else PATH
        answer = decode(session.resource(path, flags))
    if "items" not in answer and answer.get("kind") == "NetworkPolicy":
        return write(answer, form, lambda one: table([one]))
    policies = answer.get("items") or []
    if not policies:
        return write("", form, lambda _: "\n\n")
    from antctl import sorting

    policies = sorting.policies(policies, sort_by)
    return write(policies, form, table)


def table(policies: list[dict[str, Any]]) -> str:
    return render(HEADER, [_row(policy) for policy in policies])


def _row(policy: dict[str, Any]) -> tuple[str, ...]:
    from antctl.output.text import plain

    return (
        policy["metadata"]["name"],
        summarize(policy.get("appliedToGroups") or []),
        str(len(policy.get("rules") or [])),
        source(policy.get("sourceRef")),
        "" if policy.get("tierPriority") is None else str(policy["tierPriority"]),
        "" if policy.get("priority") is None else str(plain(policy["priority"])),
    )


def source(reference: dict[str, Any] | None) -> str:
    """A reference as text: type and name, with the namespace where the type has one."""
    if not reference:
        return ""
    kind, name = reference.get("type", ""), reference.get("name", "")
    if kind in CLUSTER_SCOPED:
        return f"{kind}:{name}"
    return f"{kind}:{reference.get('namespace', '')}/{name}"
