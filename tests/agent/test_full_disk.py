"""antrea-agent on full disks: it enforces, says what it cannot keep, and recovers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.cni import plugin
from tests.agent.test_process import Node, mods
from tests.agent.test_soak import Pods
from tests.support.smalldisk import SmallDisk, small_disk

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


class Machine:
    """A node whose run directory and address store are small disks."""

    def __init__(self, node: Node, run: SmallDisk, store: SmallDisk) -> None:
        self.node, self.run, self.store = node, run, store
        self.pods = Pods(node)

    def fill(self) -> None:
        self.run.fill()
        self.store.fill()

    def empty(self) -> None:
        self.run.empty()
        self.store.empty()

    def attach_pod(self) -> None:
        settings = ("datapath_type=netdev", "fail_mode=secure")
        self.node.ovs.vsctl("--may-exist", "add-br", "br-int", "--", "set", "bridge", "br-int", *settings)
        self.node.attach_pod()

    def enforced(self) -> bool:
        """Whether the flows of the remembered policy are in the switch."""
        flows = self.node.ovs.ofctl("dump-flows", self.node.ovs.bridge("br-int"))
        return "nw_src=10.77.2.2" in flows


@pytest.fixture
def machine() -> Iterator[Machine]:
    directory = Path(tempfile.mkdtemp(prefix="afull-"))  # short: sockets live in it
    node = Node(directory)
    try:
        with ExitStack() as stack:
            node.prepare()
            known = (node.run_dir / "node.json").read_bytes()
            run = stack.enter_context(small_disk(node.run_dir))
            store = stack.enter_context(small_disk(directory / "cni"))
            (node.run_dir / "node.json").write_bytes(known)
            plugin.install(str(directory / "bin"), str(node.run_dir / "cni.sock"))
            made = Machine(node, run, store)
            try:
                yield made
            finally:
                node.close()
                for namespace in made.pods.namespaces.values():
                    namespace.delete()
    finally:
        node.close()
        shutil.rmtree(directory, ignore_errors=True)


def test_an_agent_comes_up_on_full_disks_and_sends_nothing(machine: Machine) -> None:
    node = machine.node
    node.remember_policies()
    machine.attach_pod()
    node.start()
    assert node.stop() == 0
    machine.fill()
    log = node.start()
    assert mods(log) == [0, 0, 0]
    assert machine.enforced()
    assert "loopback-client-token cannot be written" in log
    assert node.stop() == 0


def test_a_first_start_on_full_disks_enforces_and_the_next_one_begins_a_new_round(machine: Machine) -> None:
    """Given ids that nobody could write down, none of them is taken for another rule's: all flows are new."""
    node = machine.node
    node.remember_policies()
    machine.attach_pod()
    machine.fill()
    log = node.start()
    assert machine.enforced()
    for sentence in ("conjunction ids cannot be written", "cannot write the round number"):
        assert sentence in log
    assert node.stop() == 0
    machine.empty()
    log = node.start()
    added, modified, _ = mods(log)
    assert added + modified > 0, "nothing on the disk says what the flows mean"
    assert machine.enforced()
    assert node.stop() == 0
    assert mods(node.start()) == [0, 0, 0]


def test_pods_are_refused_while_the_store_is_full_and_can_go_and_come_again(machine: Machine) -> None:
    node, pods = machine.node, machine.pods
    node.remember_policies()
    node.start()
    pods.add("first")
    pods.add("second")
    machine.fill()
    with pytest.raises(AssertionError, match="No space left on device"):
        pods.add("third")
    pods.remove("first")
    pods.talk("second", "second")
    machine.empty()
    pods.cni("ADD", "third")
    assert node.stop() == 0
