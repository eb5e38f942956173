"""The table of commands: where each may run and which module has it. Modules are imported when called."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spec:
    group: str  # empty: a command of its own
    name: str
    aliases: tuple[str, ...]
    modes: str  # letters of antctl.mode.Mode: A agent, C controller's Pod, R remote, F flow aggregator
    module: str  # below antctl.commands; has build(spec, mode) -> click.Command
    help: str


# Every group exists in every mode, even if it has no commands there (then it is not shown in the help).
GROUPS = {
    "check": "Performs pre and post installation checks",
    "get": "Get the status or resource of a topic",
    "mc": "Sub-commands of multi-cluster feature",
    "query": "Execute a user-provided query",
    "upgrade": "Sub-commands for upgrade operations",
}

COMMANDS = (
    Spec("", "version", (), "ACRF", "version", "Print version information"),
    Spec("", "log-level", (), "ACF", "loglevel", "Show or set log verbosity level"),
    Spec(
        "get", "networkpolicy", ("networkpolicies", "netpol"), "ACR", "networkpolicy", "Print NetworkPolicies"
    ),
    Spec("get", "addressgroup", ("addressgroups", "ag"), "ACR", "groups", "Print address groups"),
    Spec("get", "appliedtogroup", ("appliedtogroups", "atg"), "ACR", "groups", "Print appliedto groups"),
    Spec(
        "get",
        "controllerinfo",
        ("controllerinfos", "ci"),
        "CR",
        "infos",
        "Print Antrea controller's basic information",
    ),
    Spec("get", "agentinfo", ("agentinfos", "ai"), "A", "infos", "Print agent's basic information"),
    Spec(
        "get",
        "podinterface",
        ("podinterfaces", "pi"),
        "A",
        "podinterface",
        "Print Pod's network interface information",
    ),
    Spec("get", "ovsflows", ("of",), "A", "ovsflows", "Dump OVS flows"),
    Spec("get", "featuregates", (), "ACR", "featuregates", "Get feature gates list"),
    Spec("", "supportbundle", (), "CR", "supportbundle", "Collect the support bundle of the controller"),
    Spec("", "proxy", (), "CR", "proxy", "Run a reverse proxy to the API of the controller or of an agent"),
)


def available(mode_letter: str) -> list[Spec]:
    return [spec for spec in COMMANDS if mode_letter in spec.modes]
