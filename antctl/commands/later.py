"""Commands of upstream's antctl that this version does not have yet: they say so, instead of nothing.

Each is known in the modes in which upstream has it. Elsewhere it is an unknown word, as upstream's is there.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.version import FULL

# group, name, aliases, modes (letters of antctl.mode.Mode), what helps until it is there
_LATER: tuple[tuple[str, str, tuple[str, ...], str, str], ...] = (
    ("", "trace-packet", (), "A", "ovs-appctl ofproto/trace on the node traces a packet through the flows"),
    ("", "traceflow", ("tf", "traceflows"), "ACR", ""),
    ("", "packetcapture", ("pc", "packetcaptures"), "ACR", ""),
    ("", "supportbundle", (), "A", "agents collect no bundles; their logs are those of their Pods"),
    ("", "set", (), "F", ""),
    ("get", "memberlist", ("ml",), "A", ""),
    ("get", "serviceexternalip", ("seip", "serviceexternalips"), "A", ""),
    ("get", "podmulticaststats", (), "A", ""),
    ("get", "bgppolicy", (), "A", ""),
    ("get", "bgppeers", ("bgppeer",), "A", ""),
    ("get", "bgproutes", ("bgproute",), "A", ""),
    ("get", "fqdncache", (), "A", ""),
    ("get", "flowrecords", (), "F", ""),
    ("get", "recordmetrics", (), "F", ""),
    ("query", "endpoint", ("endpoints",), "CR",
     "antctl get networkpolicy and get appliedtogroup show which policies apply to a Pod"),
    ("query", "networkpolicyevaluation",
     ("networkpoliciesevaluation", "networkpolicyeval", "networkpolicieseval", "netpoleval"), "CR", ""),
    ("check", "cluster", (), "R", ""),
    ("check", "installation", (), "R", ""),
    ("upgrade", "api-storage", (), "R", ""),
    ("mc", "get", (), "R", ""),
    ("mc", "create", (), "R", ""),
    ("mc", "delete", (), "R", ""),
    ("mc", "deploy", (), "R", ""),
    ("mc", "init", (), "R", ""),
    ("mc", "join", (), "R", ""),
    ("mc", "leave", (), "R", ""),
    ("mc", "destroy", (), "R", ""),
)  # fmt: skip


def sentence(words: Sequence[str], letter: str) -> str:
    """What to tell whoever typed these words in this mode; empty when they are no such command."""
    for group, name, aliases, modes, instead in _LATER:
        path = (group, name) if group else (name,)
        if letter not in modes or len(words) < len(path) or words[: len(path) - 1] != list(path[:-1]):
            continue
        if words[len(path) - 1] in (name, *aliases):
            text = f'"antctl {" ".join(path)}" is not in this version of antrea-py ({FULL}) yet'
            return f"{text}: {instead}" if instead else text
    return ""


def names(group: str, letter: str) -> list[str]:
    """The commands of a group (empty: of none) that are still to come in this mode."""
    return [name for inside, name, _, modes, _ in _LATER if inside == group and letter in modes]
