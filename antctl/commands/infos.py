"""``antctl get controllerinfo|agentinfo``: what the processes report of themselves."""

from __future__ import annotations

from typing import Any

import click

from antctl.cli import leaf
from antctl.commands import Spec
from antctl.commands.version import CONTROLLER_INFO
from antctl.mode import Mode
from antctl.output import decode, write
from antctl.output.table import render, summarize
from antctl.session import Session

_CONTROLLER_FIELDS = (
    "version", "podRef", "nodeRef", "serviceRef", "networkPolicyControllerInfo", "connectedAgentNum",
    "controllerConditions",
)  # fmt: skip
_AGENT_FIELDS = (
    "version", "podRef", "nodeRef", "nodeSubnets", "ovsInfo", "networkPolicyControllerInfo", "localPodNum",
    "agentConditions", "apiPort", "nodePortLocalPortRange", "networkInfo",
)  # fmt: skip
_NUMBERS = ("networkPolicyNum", "addressGroupNum", "appliedToGroupNum")


def build(spec: Spec, mode: Mode) -> click.Command:
    return leaf(spec, mode, _controller if spec.name == "controllerinfo" else _agent)


def _controller(session: Session, flags: dict[str, str], names: list[str], form: str) -> str:
    answer = decode(session.resource(CONTROLLER_INFO))
    info = {key: answer[key] for key in _CONTROLLER_FIELDS if answer.get(key)}
    header = (
        "POD", "NODE", "STATUS", "NETWORK-POLICIES", "ADDRESS-GROUPS", "APPLIED-TO-GROUPS",
        "CONNECTED-AGENTS",
    )  # fmt: skip

    def table(value: dict[str, Any]) -> str:
        row = (
            _pod(value),
            value.get("nodeRef", {}).get("name", ""),
            status(value.get("controllerConditions")),
            *_numbers(value),
            str(value.get("connectedAgentNum", 0)),
        )
        return render(header, [row])

    return write(info, form, table)


def _agent(session: Session, flags: dict[str, str], names: list[str], form: str) -> str:
    answer = decode(session.get("/agentinfo"))
    info = {key: answer[key] for key in _AGENT_FIELDS if answer.get(key)}
    header = (
        "POD", "NODE", "STATUS", "NODE-SUBNET", "NETWORK-POLICIES", "ADDRESS-GROUPS", "APPLIED-TO-GROUPS",
        "LOCAL-PODS",
    )  # fmt: skip

    def table(value: dict[str, Any]) -> str:
        row = (
            _pod(value),
            value.get("nodeRef", {}).get("name", ""),
            status(value.get("agentConditions")),
            summarize(value.get("nodeSubnets") or []),
            *_numbers(value),
            str(value.get("localPodNum", 0)),
        )
        return render(header, [row])

    return write(info, form, table)


def _pod(info: dict[str, Any]) -> str:
    reference = info.get("podRef", {})
    return f"{reference.get('namespace', '')}/{reference.get('name', '')}"


def _numbers(info: dict[str, Any]) -> tuple[str, ...]:
    counts = info.get("networkPolicyControllerInfo", {})
    return tuple(str(counts.get(key, 0)) for key in _NUMBERS)


def status(conditions: list[dict[str, str]] | None) -> str:
    """One word for all conditions: the worst of them."""
    if conditions is None:
        return ""
    states = {condition.get("status") for condition in conditions}
    return "Unhealthy" if "False" in states else "Unknown" if "Unknown" in states else "Healthy"
