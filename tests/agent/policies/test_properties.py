"""Random policies, groups, pods and changes to them, against an evaluation that knows nothing of the cache.

The incremental road (events, cache, dirty rules, rounds) must end where the documents say, after any
sequence of changes in any order, with rounds at random points between them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.interfaces import InterfaceStore
from agent.model import Direction
from agent.policies.cache import RuleCache
from agent.policies.objects import Kind
from agent.policies.reconcile import Reconciler
from agent.policies.stream import WatchStream
from tests.agent.policies.support import (
    Datapath,
    Documents,
    Probe,
    added,
    allowed_by_documents,
    allowed_by_rules,
    bookmark,
    deleted,
    document_of,
    frame,
    group_message,
    patch_message,
    pod_interface,
    policy_message,
)
from tests.agent.policies.test_recorded_streams import apply

GROUPS = ["g0", "g1", "g2"]
TARGETS = ["t0", "t1", "t2"]
POLICIES = ["p0", "p1", "p2", "p3"]
BLOCKS = ["10.0.0.0/29", "10.0.0.4/30", "10.0.0.6/32", "0.0.0.0/0", "fd00::/125", "::/0"]

ports_of_pod = st.lists(
    st.tuples(
        st.sampled_from(["web", "dns"]), st.sampled_from(["TCP", "UDP"]), st.sampled_from([80, 81, 53])
    ),
    max_size=2,
    unique_by=lambda port: port[:2],
)


@st.composite
def pods(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Six pods with addresses in one or two families; some call their ports by name."""
    made = []
    for index in range(6):
        ips = [f"10.0.0.{index + 1}"] + ([f"fd00::{index + 1}"] if draw(st.booleans()) else [])
        made.append({"pod": ("ns", f"pod{index}"), "ips": ips, "ports": draw(ports_of_pod)})
    return made


services = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["TCP", "UDP"]), st.sampled_from([None, 80, 81, 53, "web", "dns"]), st.none()
        ),
        st.tuples(st.sampled_from(["TCP", "UDP"]), st.sampled_from([50, 79]), st.sampled_from([80, 90])),
    ),
    max_size=3,
)
rules = st.fixed_dictionaries(
    {
        "direction": st.sampled_from(["In", "Out"]),
        "groups": st.lists(st.sampled_from(GROUPS), max_size=2, unique=True),
        "blocks": st.lists(
            st.tuples(st.sampled_from(BLOCKS), st.lists(st.sampled_from(BLOCKS), max_size=2)), max_size=2
        ),
        "services": services,
    }
)
subsets = st.lists(st.integers(0, 5), max_size=4, unique=True)
a_policy = st.tuples(st.just("policy"), st.sampled_from(POLICIES), st.lists(rules, min_size=1, max_size=3),
              st.lists(st.sampled_from(TARGETS), min_size=1, max_size=2, unique=True))  # fmt: skip
changes = st.one_of(
    a_policy,
    a_policy,
    st.tuples(st.just("end policy"), st.sampled_from(POLICIES)),
    st.tuples(st.just("group"), st.sampled_from(GROUPS), subsets),
    st.tuples(st.just("patch group"), st.sampled_from(GROUPS), subsets, subsets),
    st.tuples(st.just("target"), st.sampled_from(TARGETS), subsets),
    st.tuples(st.just("patch target"), st.sampled_from(TARGETS), subsets, subsets),
    st.tuples(st.just("end target"), st.sampled_from(TARGETS)),
    st.tuples(st.just("attach"), st.integers(0, 5)),
    st.tuples(st.just("detach"), st.integers(0, 5)),
    st.tuples(st.just("round")),
)  # fmt: skip


class World:
    """The agent's side (stream → cache → datapath) and the documents, changed together."""

    def __init__(self, pods: list[dict[str, Any]]) -> None:
        self.pods = pods
        self.stream = WatchStream(Kind)
        self.cache, self.datapath, self.documents = RuleCache(), Datapath(), Documents()
        self.store = InterfaceStore()
        self.store.subscribe(lambda change: self.cache.mark_pod(*change.interface.key))
        self.reconciler = Reconciler(
            self.cache, self.datapath, self.datapath.commit, self.store.for_pod, frozenset({4, 6})
        )
        self.ofports = iter(range(1, 10_000))
        self.members: dict[tuple[Kind, str], set[int]] = {}
        # All groups exist throughout: only then do the documents say what a rule means.
        self.send(*(added(Kind.ADDRESS_GROUP, self.group(Kind.ADDRESS_GROUP, name, [])) for name in GROUPS))
        self.send(bookmark("1"))

    def send(self, *frames: bytes) -> None:
        apply(self.cache, self.stream.feed(b"".join(frames)))

    def group(self, kind: Kind, name: str, indexes: list[int]) -> bytes:
        self.members[kind, name] = set(indexes)
        message = group_message(kind, name, [self.member(kind, index) for index in indexes])
        self.documents.objects[kind][name] = document_of(kind, message)
        return message

    def member(self, kind: Kind, index: int) -> dict[str, Any]:
        pod = self.pods[index]
        return pod if kind is Kind.ADDRESS_GROUP else {"pod": pod["pod"], "ports": pod["ports"]}

    def patch(self, kind: Kind, name: str, add: list[int], remove: list[int]) -> None:
        if (kind, name) not in self.members:
            return
        removed = set(remove) - set(add)
        now = (self.members[kind, name] | set(add)) - removed
        patch = patch_message(
            name,
            [self.member(kind, index) for index in add],
            [self.member(kind, index) for index in sorted(removed)],
        )
        self.send(frame("MODIFIED", f"{kind.singular}Patch", patch))
        self.group(kind, name, sorted(now))

    def change(self, change: tuple[Any, ...]) -> None:
        match change:
            case ("policy", name, rules, targets):
                message = policy_message(name, rules, targets)
                self.documents.objects[Kind.NETWORK_POLICY][name] = document_of(Kind.NETWORK_POLICY, message)
                self.send(added(Kind.NETWORK_POLICY, message))
            case ("end policy", name):
                self.documents.objects[Kind.NETWORK_POLICY].pop(name, None)
                self.send(deleted(Kind.NETWORK_POLICY, name))
            case ("group", name, indexes):
                self.send(added(Kind.ADDRESS_GROUP, self.group(Kind.ADDRESS_GROUP, name, indexes)))
            case ("patch group", name, add, remove):
                self.patch(Kind.ADDRESS_GROUP, name, add, remove)
            case ("target", name, indexes):
                self.send(added(Kind.APPLIED_TO_GROUP, self.group(Kind.APPLIED_TO_GROUP, name, indexes)))
            case ("patch target", name, add, remove):
                self.patch(Kind.APPLIED_TO_GROUP, name, add, remove)
            case ("end target", name):
                self.documents.objects[Kind.APPLIED_TO_GROUP].pop(name, None)
                self.members.pop((Kind.APPLIED_TO_GROUP, name), None)
                self.send(deleted(Kind.APPLIED_TO_GROUP, name))
            case ("attach", index):
                pod = self.pods[index]
                if not self.store.for_pod(*pod["pod"]):
                    self.store.add(pod_interface(*pod["pod"], next(self.ofports), *pod["ips"]))
            case ("detach", index):
                for interface in self.store.for_pod(*self.pods[index]["pod"]):
                    self.store.remove(interface.name)

    def probes(self, sample: int, seed: int) -> list[Probe]:
        addresses = [ipaddress.ip_address(ip) for pod in self.pods for ip in pod["ips"]]
        addresses += [ipaddress.ip_address("10.0.0.60"), ipaddress.ip_address("fd00::60")]
        every = [
            Probe(source, destination, protocol, port)
            for source in addresses
            for destination in addresses
            if source.version == destination.version and source != destination
            for protocol in ("TCP", "UDP")
            for port in (50, 53, 79, 80, 81, 85)
        ]
        return random.Random(seed).sample(every, min(sample, len(every)))


@settings(max_examples=100, deadline=None)
@given(pods(), st.lists(changes, min_size=5, max_size=40), st.integers())
def test_the_datapath_allows_what_the_documents_say(
    pods: list[dict[str, Any]], sequence: list[tuple[Any, ...]], seed: int
) -> None:
    async def play() -> None:
        world = World(pods)
        for number, name in enumerate(TARGETS):  # start where something can happen
            world.change(("target", name, [number, number + 1, number + 2]))
            world.change(("group", GROUPS[number], [number + 1, number + 3]))
        for index in (0, 2, 4):
            world.change(("attach", index))
        for change in sequence:
            if change[0] == "round":
                await world.reconciler.run_once()
            else:
                world.change(change)
        await world.reconciler.run_once()
        rules, local = list(world.datapath.committed.values()), list(world.store)
        for probe in world.probes(400, seed):
            for direction in Direction:
                assert allowed_by_rules(rules, local, probe, direction) == allowed_by_documents(
                    world.documents, local, probe, direction
                ), (probe, direction)
        await nothing_is_left_over(world)

    asyncio.run(play())


async def nothing_is_left_over(world: World) -> None:
    """From scratch the same rules come out, under the same ids; and without policies there are none."""
    fresh = Datapath()
    reconciler = Reconciler(world.cache, fresh, fresh.commit, world.store.for_pod, frozenset({4, 6}))
    world.cache.mark_all()
    await reconciler.run_once()
    assert fresh.committed == world.datapath.committed
    for name in POLICIES:
        world.change(("end policy", name))
    await world.reconciler.run_once()
    assert not world.datapath.committed
    assert not list(world.cache.rules())


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 40))
def test_random_bytes_end_a_stream_with_a_sentence_and_nothing_else(junk: bytes, cut: int) -> None:
    from agent.policies.stream import StreamError

    good = added(Kind.ADDRESS_GROUP, group_message(Kind.ADDRESS_GROUP, "g", [])) + bookmark("7")
    for data in (junk, good + junk, good[:cut] + junk + good[cut:]):
        stream = WatchStream(Kind)
        try:
            for at in range(0, len(data), 7):
                stream.feed(data[at : at + 7])
        except StreamError:
            continue


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 60), max_size=20))
def test_where_the_network_cuts_a_stream_does_not_matter(cuts: list[int]) -> None:
    members = [{"pod": ("ns", "a"), "ips": ["10.0.0.1"]}]
    data = (
        added(Kind.ADDRESS_GROUP, group_message(Kind.ADDRESS_GROUP, "g", members))
        + added(Kind.NETWORK_POLICY, policy_message("p", [{"direction": "In", "groups": ["g"]}], ["t"]))
        + bookmark("7")
        + frame("MODIFIED", "AddressGroupPatch", patch_message("g", (), members))
        + deleted(Kind.NETWORK_POLICY, "p")
    )
    whole = WatchStream(Kind).feed(data)
    stream, items, at = WatchStream(Kind), [], 0
    for cut in [*cuts, len(data)]:
        items += stream.feed(data[at : at + cut])
        at += cut
    assert items == whole
