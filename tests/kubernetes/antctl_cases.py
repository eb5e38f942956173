"""What upstream's antctl was recorded to print, as a cluster that holds only the Kubernetes objects of the
recorded one can be compared with it.

The names of internal policies are the UIDs of their sources, which every cluster gives anew: they are mapped
by namespace and name. Of lists, what follows from Antrea-native policies and groups is taken away first.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

DATA = Path(__file__).parents[1] / "data" / "antctl"
KUBERNETES = "K8sNetworkPolicy"
VERSION = "v2.7.0-unknown"  # of the recorded binaries
POLICY_COUNT, GROUP_COUNT, TARGET_COUNT = 5, 3, 5  # that follow from the Kubernetes policies
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")

Case = dict[str, Any]


def load() -> list[Case]:
    """Every recorded case but those of `get featuregates`; of those that are equal in both modes one text."""
    first: list[Case] = json.loads((DATA / "commands.json").read_text())["cases"]
    by_name = {case["name"]: case for case in first}
    others: list[Case] = json.loads((DATA / "others.json").read_text())["cases"]
    for case in others:
        if "as" in case:
            twin = by_name[case["as"]]
            case.update(
                {
                    key: twin[key]
                    for key in ("exitCode", "stdout", "stderr", "stdoutIsHelpText")
                    if key in twin
                }
            )
    return first + others


def feature_gates() -> list[Case]:
    found: list[Case] = json.loads((DATA / "featuregates.json").read_text())["cases"]
    return found


CASES = load()
BY_NAME = {case["name"]: case for case in CASES}
_POLICIES = json.loads(BY_NAME["r-np-json"]["stdout"])
# The recorded names of the policies that are here as well.
RECORDED = {
    policy["metadata"]["name"]: (policy["sourceRef"]["namespace"], policy["sourceRef"]["name"])
    for policy in _POLICIES
    if policy["sourceRef"]["type"] == KUBERNETES
}
# Policies with equal keys, and those in the order of UIDs, come in another order.
ANY_ORDER = re.compile(
    r"sort-(sourceRef-(type|uid)|metadata-(name|creationTimestamp)|effectivePriority|json)$"
)


class Names:
    """From the recorded UIDs of policies to those of a cluster."""

    def __init__(self, uids: dict[tuple[str, str], str]) -> None:
        self._here = {recorded: uids[source] for recorded, source in RECORDED.items()}

    def here(self, text: str) -> str:
        return _UUID.sub(lambda found: self._here.get(found[0], found[0]), text)


def normal(text: str) -> str:
    return _TIME.sub("TIME", text)


def parsed(text: str) -> Any:
    """JSON, YAML or a table (rows of cells, the header first)."""
    if text.startswith(("{", "[")):
        return json.loads(text)
    if re.match(r"(- )?[a-zA-Z]+:( |$)", text.partition("\n")[0]):
        return yaml.safe_load(text)
    return rows(text)


def rows(text: str) -> list[tuple[str, ...]]:
    """Cells are cut where the words of the header begin."""
    header, *body = text.splitlines()
    starts = [found.start() for found in re.finditer(r"\S+", header)]
    ends = [*starts[1:], None]
    return [
        tuple(line[start:end].strip() for start, end in zip(starts, ends, strict=True))
        for line in (header, *body)
    ]


def follows_from_kubernetes(item: Any, names: set[str]) -> bool:
    """``item`` of a list is a document, or a row with the name first; ``names``: of the groups here."""
    if isinstance(item, tuple):
        return any(cell.startswith(f"{KUBERNETES}:") for cell in item) or item[0] in names | {"NAME"}
    if "sourceRef" in item:
        return bool(item["sourceRef"]["type"] == KUBERNETES)
    return item["name"] in names


def comparable(value: Any) -> Any:
    """Without versions of objects, which upstream has not; members of groups in one order."""
    if isinstance(value, list):
        return [comparable(item) for item in value]
    if isinstance(value, dict):
        return {
            key: sorted(item, key=in_order) if key in ("pods", "nodes") else comparable(item)
            for key, item in value.items()
            if key != "resourceVersion"
        }
    return value


def in_order(item: Any) -> str:
    return json.dumps(item, sort_keys=True)
