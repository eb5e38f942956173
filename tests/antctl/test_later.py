"""Commands that upstream has and this version lacks, words that nobody knows, groups that are empty."""

from __future__ import annotations

import pytest

from antctl import main

PODS = {"A": "antrea-agent-x", "C": "antrea-controller-x", "F": "flow-aggregator-x", "R": ""}


def run(letter: str, words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("POD_NAME", PODS[letter])
    monkeypatch.setenv("KUBECONFIG", "/nonexistent")
    return main.run(["antctl", *words.split()])


@pytest.mark.parametrize(
    ("words", "name", "modes"),
    [
        ("traceflow -S a -D b", "traceflow", "ACR"),
        ("tf", "traceflow", "ACR"),
        ("packetcapture --nowait", "packetcapture", "ACR"),
        ("pc", "packetcapture", "ACR"),
        ("supportbundle", "supportbundle", "A"),
        ("trace-packet -S a -D b -f tcp", "trace-packet", "A"),
        ("query endpoint -p front-1 -n shop", "query endpoint", "CR"),
        ("query endpoints", "query endpoint", "CR"),
        ("-o json query networkpolicyevaluation -S a -D b", "query networkpolicyevaluation", "CR"),
        ("query netpoleval", "query networkpolicyevaluation", "CR"),
        ("get memberlist", "get memberlist", "A"),
        ("get ml", "get memberlist", "A"),
        ("get serviceexternalip x -n y", "get serviceexternalip", "A"),
        ("get podmulticaststats", "get podmulticaststats", "A"),
        ("get bgppolicy", "get bgppolicy", "A"),
        ("get bgppeers --ipv4-only", "get bgppeers", "A"),
        ("get bgproute", "get bgproutes", "A"),
        ("get fqdncache -d *.org", "get fqdncache", "A"),
        ("get flowrecords", "get flowrecords", "F"),
        ("get recordmetrics", "get recordmetrics", "F"),
        ("set flow-aggregator a=b", "set", "F"),
        ("check cluster", "check cluster", "R"),
        ("check installation", "check installation", "R"),
        ("upgrade api-storage --dry-run", "upgrade api-storage", "R"),
        ("mc get clusterset", "mc get", "R"),
        ("mc join", "mc join", "R"),
    ],
)
def test_a_command_that_is_not_there_yet_says_so(
    words: str, name: str, modes: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for letter in PODS:
        code = run(letter, words, monkeypatch)
        printed = capsys.readouterr()
        told = f'Error: "antctl {name}" is not in this version of antrea-py' in printed.err
        assert told == (letter in modes)
        if told:
            assert (code, printed.out, printed.err.count("\n")) == (1, "", 1)


@pytest.mark.parametrize(
    ("letter", "words", "code", "out", "err"),
    [
        ("R", "frobnicate", 1, "", 'Error: unknown command "frobnicate" for "antctl"\n'),
        ("R", "traceflw", 1, "", "Did you mean this?\n\ttraceflow\n"),
        ("C", "upgrade api-storage", 0, "Sub-commands for upgrade operations\n\n", ""),
        ("C", "mc get clusterset", 0, "Sub-commands of multi-cluster feature\n\n", ""),
        ("R", "query", 0, "Not in this version yet:\n  endpoint, networkpolicyevaluation\n", ""),
        ("R", "query nonsense", 0, "Usage: antctl query", ""),
        ("R", "get nonsense", 0, "Usage: antctl get", ""),
        ("R", "", 0, "  proxy ", ""),
        ("R", "", 0, "Not in this version yet:\n  traceflow, packetcapture, check, mc, query, upgrade\n", ""),
        ("A", "", 0, "Not in this version yet:\n  trace-packet, traceflow, packetcapture, supportbundle", ""),
        ("R", "help get networkpolicy", 0, "Usage: antctl get networkpolicy", ""),
        ("R", "help", 0, "Usage: antctl ", ""),
        ("R", "completion bash", 0, "_ANTCTL_COMPLETE=bash_complete", ""),
        ("R", "completion", 1, "", "Error: name the shell: antctl completion bash|fish|zsh\n"),
        ("R", "get -z", 1, "", "Error: unknown shorthand flag: 'z' in -z\n"),
        ("R", "-s https://h get", 0, "Usage: antctl get", ""),
        ("R", "-s https://h", 0, "Usage: antctl ", ""),
        ("A", "query endpoint -p web-0", 1, "", "Error: unknown shorthand flag: 'p' in -p\n"),
        ("A", "proxy", 1, "", 'Error: unknown command "proxy" for "antctl"'),
        ("C", "proxy", 1, "", "Error: only remote mode is supported for this command\n"),
        ("R", "proxy --controller --agent-node n", 1, "",
         "Error: cannot use --controller and --agent-node at the same time\n"),
        ("R", "proxy -p 42051 -u s", 1, "", "Error: cannot set --unix-socket and --port at the same time\n"),
        ("R", "proxy -p x", 1, "", 'Error: invalid argument "x" for "-p, --port" flag'),
        ("R", "proxy -p 70000", 1, "", 'Error: invalid argument "70000" for "-p, --port" flag'),
        ("R", "proxy --keepalive x", 1, "", 'Error: invalid argument "x" for "--keepalive" flag'),
        ("R", "proxy --accept-hosts (", 1, "", "Error: --accept-hosts: '(' is no regular expression"),
        ("R", "proxy -w /nonexistent", 1, "", "Error: --www: /nonexistent is no directory"),
        ("R", "supportbundle node-*", 1, "",
         "Error: agents collect no support bundles in this version of antrea-py yet: "
         "ask for that of the controller with --controller-only\n"),
        ("R", "supportbundle -f nodes.txt", 1, "", "Error: agents collect no support bundles"),
        ("R", "proxy word", 1, "", 'Error: unknown command "word" for "antctl proxy"\n'),
        ("R", "proxy -p 0", 1, "", "Error: failed to create rest client: "),
    ],
)  # fmt: skip
def test_what_is_printed(
    letter: str,
    words: str,
    code: int,
    out: str,
    err: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(letter, words, monkeypatch) == code
    printed = capsys.readouterr()
    assert out in printed.out
    assert err in printed.err
    assert bool(printed.err) == bool(code)
