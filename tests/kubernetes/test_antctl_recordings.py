"""antctl against a controller behind a real kube-apiserver prints what upstream's printed: remote, through
the aggregation, and in the controller's Pod, to the controller itself.

Every recorded case of the read, gate and other commands is run. The cluster holds the Kubernetes objects
among the recorded inputs; what does not follow from them is named below, and so is what is different.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from antctl import main
from antctl.commands.version import CONTROLLER_INFO
from client.errors import ApiError
from client.resources import CONFIG_MAPS, CONTROLLER_INFOS, NODES
from runtime.version import FULL
from tests.controller.control_plane import ControlPlane, eventually, running
from tests.kubernetes import antctl_cases as recorded
from tests.kubernetes import inputs
from tests.kubernetes.antctl_cases import Case
from tests.kubernetes.cluster import Cluster

pytestmark = pytest.mark.kubernetes

# The gates of the recorded controller.
GATES = {"AntreaIPAM": True, "SupportBundleCollection": True, "L7NetworkPolicy": True, "ExternalNode": True}
CONFIG_MAP = {
    "antrea-agent.conf": "featureGates:\n  Multicast: false\n  NodeLatencyMonitor: true\n",
    "antrea-controller.conf": "featureGates:\n" + "".join(f"  {name}: true\n" for name in GATES),
}
NOT_YET = re.compile(r'^Error: "antctl [a-z -]+" is not in this version of antrea-py \(\S+\) yet.*\n$')

# One object that follows from an Antrea-native one: here it is not found.
NATIVE = re.compile(r"^[rc]-(np-one-(acnp|annp|group-rule|rule-appliedto)|atg-one|(ag|atg)-clustergroup)")
GROUPS = {
    **dict.fromkeys(("addressgroup", "addressgroups"), "addressgroups"),
    **dict.fromkeys(("appliedtogroup", "appliedtogroups"), "appliedtogroups"),
}
LISTS = ("networkpolicy", "netpol", "networkpolicies", *GROUPS)
LATER = ("query", "mc", "upgrade")
# Different on purpose: status, and what is printed instead.
DIFFERENT: dict[str, tuple[int, str]] = {
    # Policies without a priority are sorted before the others; upstream's antctl dies.
    **{f"{mode}-np-sort-tierPriority": (0, r"^NAME +APPLIED-TO ") for mode in "rc"},
    # get featuregates has -o, and honours -s in the Pod.
    **{f"{mode}-fg-output-flag": (0, r'^\[\n  \{\n    "component": "agent",') for mode in "rc"},
    "c-fg-arg": (0, r"^Antrea Agent Feature Gates\n"),
    "inpod-fg-server-flag-ignored": (1, r"127\.0\.0\.1:1: connect: connection refused"),
    # What cannot be read counts as empty, and the list also comes through the Kubernetes API.
    **dict.fromkeys(
        ("fg-no-configmap", "fg-malformed", "fg-node-missing", "fg-no-ca"),
        (0, r"^Antrea Agent Feature Gates\n(.*\n)*\nAntrea Controller Feature Gates\n"),
    ),
    # Agents collect no bundles yet.
    **dict.fromkeys(
        ("sb-no-match", "sb-node-list-missing"), (1, "^Error: agents collect no support bundles")
    ),
    # raw is JSON on one line, not a dump of the program's memory.
    **{f"{mode}-version-raw": (0, r'^\{"controllerVersion":') for mode in "rc"},
}
# Texts after these come from a library.
SAME_UP_TO = ("nor could InClusterConfig be used:", "at path 'HOME/bad':")


class World:
    def __init__(self, plane: ControlPlane, cluster: Cluster, home: Path) -> None:
        self.plane, self.cluster, self.home = plane, cluster, home
        self.names: recorded.Names | None = None
        self.groups: dict[str, set[str]] = {}  # the names of those that are here

    async def fill(self) -> None:
        """The Kubernetes objects of the recorded cluster, and what follows from them."""
        await inputs.create_all(self.cluster.kube)
        await eventually(lambda: inputs.computed(self.plane), "everything is computed")
        base = "/apis/controlplane.antrea.io/v1beta2"
        policies = (await self.plane.json(f"{base}/networkpolicies"))["items"]
        sources = [policy["sourceRef"] for policy in policies]
        self.names = recorded.Names({(ref["namespace"], ref["name"]): ref["uid"] for ref in sources})
        for plural in set(GROUPS.values()):
            items = (await self.plane.json(f"{base}/{plural}"))["items"]
            self.groups[plural] = {item["metadata"]["name"] for item in items}
        await self.plane.direct.get("/loglevel", {"level": "2"}, accept="*/*")

    async def run(
        self, argv: list[str], mode: str, monkeypatch: pytest.MonkeyPatch, **environment: str
    ) -> int:
        for name in ("POD_NAME", "KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(self.home))
        url = f"https://127.0.0.1:{self.plane.controller_port}"
        if mode == "remote":
            monkeypatch.setenv("KUBECONFIG", str(self.cluster.kubeconfig))
        elif mode.startswith("controller"):
            monkeypatch.setenv("POD_NAME", "antrea-controller-0")
            monkeypatch.setenv("ANTREA_RUN_DIR", str(self.plane.run_dir))
            monkeypatch.setenv("ANTREA_API_SERVER", url)
        for name, value in environment.items():
            monkeypatch.setenv(name, value.replace("HOME", str(self.home)))
        words = [word.replace("https://127.0.0.1:42010", url) for word in argv]
        words = [word.replace("HOME", str(self.home)) for word in words]
        return await asyncio.to_thread(main.run, words)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def empty(shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A controller with the recorded gates on the Node n0, which is this machine; no policies."""
    home = tmp_path_factory.mktemp("home")
    (home / "bad").write_text("a: [\n b: }")
    async with running(tmp_path_factory.mktemp("controller"), shared_cluster) as plane:
        kube = shared_cluster.kube
        await add_node(kube)
        await set_config_map(kube, {"metadata": {"name": "antrea-config"}, "data": CONFIG_MAP})
        await eventually(lambda: plane.json(CONTROLLER_INFO), "the groups are available")
        await eventually(
            lambda: plane.json(CONTROLLER_INFOS.path("antrea-controller")), "it says where it is"
        )
        yield World(plane, shared_cluster, home)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled(empty: World) -> World:
    await empty.plane.kill("controller")
    await empty.plane.start_controller(featureGates=GATES)
    await empty.fill()
    return empty


async def add_node(kube: Any) -> None:
    """The controller's Node, which is this machine."""
    await kube.create(NODES.path(), {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n0"}})
    addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
    await kube.patch(NODES.path("n0", subresource="status"), {"status": {"addresses": addresses}})


async def set_config_map(kube: Any, document: dict[str, Any]) -> None:
    name = document["metadata"]["name"]
    try:
        await kube.delete(CONFIG_MAPS.path(name, "kube-system"))
    except ApiError as error:
        if error.status != 404:
            raise
    await kube.create(
        CONFIG_MAPS.path(namespace="kube-system"), {"apiVersion": "v1", "kind": "ConfigMap", **document}
    )


def named(choose: Callable[[Case], bool]) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in recorded.CASES if choose(case)]


def is_empty(case: Case) -> bool:
    return bool(case["name"].startswith("empty-"))


# -- no policies: these come first -----------------------------------------------------------------------


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", named(is_empty))
async def test_without_policies(
    case: Case, empty: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = await empty.run(case["argv"], case["mode"], monkeypatch)
    printed = capsys.readouterr()
    if "query" in case["argv"]:
        assert code == 1
        assert NOT_YET.match(printed.err)
    elif "controllerinfo" in case["argv"]:
        assert code == 0
        check_info(printed.out, case["stdout"])
    else:
        assert (code, printed.out, printed.err) == (case["exitCode"], case["stdout"], case["stderr"])


DEFAULT_GATES = [case for case in recorded.feature_gates() if case["name"].startswith("fg-default-")]
CHOSEN_GATES = [case for case in recorded.feature_gates() if not case["name"].startswith("fg-default-")]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in DEFAULT_GATES])
async def test_feature_gates_of_a_controller_with_the_defaults(
    case: Case, empty: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await check_gates(case, empty, monkeypatch, capsys)


# -- with the recorded cluster's Kubernetes objects --------------------------------------------------------


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CHOSEN_GATES])
async def test_feature_gates(
    case: Case, filled: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await check_gates(case, filled, monkeypatch, capsys)


async def check_gates(
    case: Case, world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kube, given = world.cluster.kube, case.get("given") or {}
    maps = given.get("configMaps") if isinstance(given, dict) else None
    own = {"metadata": {"name": "antrea-config"}, "data": CONFIG_MAP}
    if maps == []:
        await kube.delete(CONFIG_MAPS.path("antrea-config", "kube-system"))
    for document in maps or ():
        await set_config_map(kube, document)
    if case["name"] == "fg-node-missing":
        await kube.delete(NODES.path("n0"))
    try:
        code = await world.run(["antctl", "get", "featuregates"], "remote", monkeypatch)
    finally:
        await set_config_map(kube, own)
        for document in maps or ():
            if document["metadata"]["name"] != "antrea-config":
                await kube.delete(CONFIG_MAPS.path(document["metadata"]["name"], "kube-system"))
        if case["name"] == "fg-node-missing":
            await add_node(kube)
    printed = capsys.readouterr()
    if case["name"] in DIFFERENT:
        wanted_code, pattern = DIFFERENT[case["name"]]
        assert (code, printed.err) == (wanted_code, "")
        assert re.match(pattern, printed.out)
        return
    assert (code, printed.out, printed.err) == (case["exitCode"], case["stdout"], case.get("stderr", ""))


def kind(case: Case) -> str:
    """How a case is compared: equal to the letter (members of groups in any order); part: a list without what
    follows from Antrea-native objects; info: the same fields or columns; native: an object that is not found
    here; later: a command that says that it is not there yet; different: as named above; proxy: in
    test_antctl_proxy."""
    name, words = case["name"], [word for word in case["argv"][1:] if not word.startswith(("-", "https:"))]
    if name in DIFFERENT:
        return "different"
    if name == "proxy-run":
        return "proxy"
    if words and words[0] in LATER and case.get("stdout") is None:
        return "later"
    if NATIVE.match(name):
        return "native"
    if "controllerinfo" in words or "ci" in words or "controllerinfos" in words:
        return "info" if case["exitCode"] == 0 else "equal"
    plain = [word for word in words if word not in ("json", "yaml", "table", "5s")]
    if case["exitCode"] == 0 and len(plain) == 2 and plain[1] in LISTS and "stdoutIsHelpText" not in case:
        return "part"
    return "equal"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", named(lambda case: not is_empty(case) and kind(case) != "proxy"))
async def test_command(
    case: Case, filled: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert filled.names is not None
    argv = [filled.names.here(word) for word in case["argv"]]
    code = await filled.run(argv, case["mode"], monkeypatch, **(case.get("env") or {}))
    printed = capsys.readouterr()
    out, err = printed.out.replace(FULL, recorded.VERSION), printed.err.replace(str(filled.home), "HOME")
    way = kind(case)
    if way == "different":
        wanted_code, pattern = DIFFERENT[case["name"]]
        assert code == wanted_code
        assert re.search(pattern, out + err)
        return
    if way == "later":
        assert (code, out) == (1, "")
        assert NOT_YET.match(err)
        return
    if way == "native":
        assert (code, out) == (1, "")
        assert re.fullmatch(r'Error: request to server failed: .* ".*" not found\n', err)
        return
    assert code == case["exitCode"], err
    for cut in SAME_UP_TO:
        if cut in case["stderr"]:
            assert err.partition(cut)[0] == case["stderr"].partition(cut)[0]
            return
    assert err == case["stderr"]
    if case.get("stdoutIsHelpText"):
        assert out.startswith("Usage:")
    elif way == "info":
        check_info(out, case["stdout"])
    elif way == "part":
        check_list(case, out, filled)
    elif out != filled.names.here(case["stdout"]):
        ours, theirs = recorded.parsed(out), recorded.parsed(filled.names.here(case["stdout"]))
        assert recorded.comparable(ours) == recorded.comparable(theirs)


def check_list(case: Case, printed: str, world: World) -> None:
    assert world.names is not None
    names = next((world.groups[GROUPS[word]] for word in case["argv"] if word in GROUPS), set())
    ours, theirs = recorded.parsed(printed), recorded.parsed(world.names.here(case["stdout"]))
    theirs = [item for item in theirs if recorded.follows_from_kubernetes(item, names)]
    ours, theirs = recorded.comparable(ours), recorded.comparable(theirs)
    if recorded.ANY_ORDER.search(case["name"]):
        ours, theirs = sorted(ours, key=recorded.in_order), sorted(theirs, key=recorded.in_order)
    assert ours == theirs
    count = len(ours) - isinstance(ours[0], tuple)
    assert count == (len(names) or recorded.POLICY_COUNT)


def check_info(printed: str, theirs: str) -> None:
    """The same columns, or the same fields; names, numbers and times are a cluster's own."""
    ours, wanted = recorded.parsed(printed), recorded.parsed(theirs)
    if isinstance(wanted, dict):
        assert shape(ours) == shape(wanted)
        return
    assert ours[0] == wanted[0]
    assert ours[1][0] == "kube-system/antrea-controller-0"
    assert len(ours) == len(wanted)


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value[:1]] if isinstance(value, list) else type(value).__name__


def test_the_counts_that_the_documentation_gives() -> None:
    """Of 279 recorded cases (and "own", the list of gates that others were recorded with)."""
    counts = Counter(kind(case) for case in recorded.CASES if not is_empty(case))
    counts["equal"] += sum(is_empty(case) and "query" not in case["argv"] for case in recorded.CASES)
    counts["later"] += sum(is_empty(case) and "query" in case["argv"] for case in recorded.CASES)
    for case in recorded.feature_gates():
        counts["different" if case["name"] in DIFFERENT else "equal"] += 1
    assert counts == {
        "equal": 114, "part": 44, "info": 6, "native": 28, "later": 73, "different": 14, "proxy": 1,
    }  # fmt: skip
