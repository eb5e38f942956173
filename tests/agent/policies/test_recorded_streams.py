"""What upstream's controller sent to two nodes in eight scenarios, played through stream, cache and rules."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from agent.model import Direction, PodInterface
from agent.policies.cache import RuleCache
from agent.policies.groups import Group
from agent.policies.objects import Kind
from agent.policies.reconcile import Reconciler
from agent.policies.stream import Deleted, Item, Patched, Put, Snapshot, WatchStream
from tests.agent.policies.support import (
    Datapath,
    Documents,
    Probe,
    Recording,
    _unmap,
    allowed_by_documents,
    allowed_by_rules,
    pod_interface,
    scenarios,
    store_of,
)


def apply(cache: RuleCache, items: list[Item]) -> None:
    for item in items:
        if isinstance(item, Snapshot):
            for put in item.puts.values():
                cache.put(put.kind, put.value)
        elif isinstance(item, Put):
            cache.put(item.kind, item.value)
        elif isinstance(item, Patched):
            cache.patch(item.kind, item.patch)
        elif isinstance(item, Deleted):
            cache.remove(item.kind, item.name)


def members_of(document: dict[str, Any]) -> set[tuple[Any, ...]]:
    import base64

    return {
        (
            member["pod"]["namespace"],
            member["pod"]["name"],
            tuple(_unmap(base64.b64decode(ip)) for ip in member.get("ips", ())),
            tuple((port["name"], port["protocol"], port["port"]) for port in member.get("ports", ())),
        )
        for member in document.get("groupMembers", ())
    }


def cached_members(group: Group) -> set[tuple[Any, ...]]:
    return {
        (m.namespace, m.name, m.ips, tuple((p.name, p.protocol, p.port) for p in m.ports))
        for m in group.decoded()
    }


def local_pods(documents: Documents, known: dict[tuple[str, str], PodInterface]) -> list[PodInterface]:
    """Attach every pod that an applied-to group names, under the address that an address group tells."""
    ips: dict[tuple[str, str], tuple[Any, ...]] = {}
    for group in documents.objects[Kind.ADDRESS_GROUP].values():
        for namespace, name, addresses, _ in members_of(group):
            ips[namespace, name] = addresses
    for group in documents.objects[Kind.APPLIED_TO_GROUP].values():
        for namespace, name, _, _ in members_of(group):
            if (namespace, name) not in known:
                number = len(known) + 1
                own = ips.get((namespace, name)) or (ipaddress.ip_address(f"10.99.0.{number}"),)
                known[namespace, name] = pod_interface(namespace, name, number, *map(str, own))
    return list(known.values())


PORTS = (1, 53, 80, 443, 3868, 5353, 8080, 8081, 8500, 65535)


@pytest.mark.parametrize(("scenario", "node"), scenarios())
async def test_after_each_step_cache_and_rules_say_what_the_stream_said(scenario: str, node: str) -> None:
    recording = Recording.read(scenario, node)
    streams = {kind: WatchStream((kind,)) for kind in Kind}
    cache, datapath, documents = RuleCache(), Datapath(), Documents()
    known: dict[tuple[str, str], PodInterface] = {}
    store = store_of()
    reconciler = Reconciler(cache, datapath, datapath.commit, store.for_pod, frozenset({4, 6}))
    for step in recording.steps:
        for kind in (Kind.ADDRESS_GROUP, Kind.APPLIED_TO_GROUP, Kind.NETWORK_POLICY):
            apply(cache, streams[kind].feed(recording.bytes_of(kind, step)))
            for at, event in recording.events[kind]:
                if at == step:
                    documents.apply(kind, event)
        for interface in local_pods(documents, known):
            if interface.name not in store:
                store.add(interface)
                cache.mark_pod(*interface.key)
        await reconciler.run_once()

        for kind in (Kind.ADDRESS_GROUP, Kind.APPLIED_TO_GROUP):
            assert {name: cached_members(group) for name, group in cache.objects(kind).items()} == {
                name: members_of(group) for name, group in documents.objects[kind].items()
            }, (step, kind)
        assert set(cache.policies) == set(documents.objects[Kind.NETWORK_POLICY]), step

        rules, local = list(datapath.committed.values()), list(known.values())
        outside = [ipaddress.ip_address("192.0.2.77"), ipaddress.ip_address("2001:db8:77::1")]
        peers = {ip for group in cache.address_groups.values() for m in group.decoded() for ip in m.ips}
        addresses = sorted({*peers, *outside, *(ip for pod in local for ip in pod.ips)}, key=str)
        for source in addresses:
            for destination in addresses:
                if source.version != destination.version or source == destination:
                    continue
                for protocol in ("TCP", "UDP", "SCTP"):
                    for port in PORTS:
                        probe = Probe(source, destination, protocol, port)
                        for direction in Direction:
                            assert allowed_by_rules(rules, local, probe, direction) == allowed_by_documents(
                                documents, local, probe, direction
                            ), (step, probe, direction)


async def test_a_stream_played_twice_changes_nothing_the_second_time() -> None:
    """Re-sent objects are equal to what is known: no rule is set again."""
    for scenario, node in scenarios():
        recording = Recording.read(scenario, node)
        cache, datapath = RuleCache(), Datapath()
        store = store_of()
        reconciler = Reconciler(cache, datapath, datapath.commit, store.for_pod, frozenset({4}))
        for _ in range(2):
            before = datapath.operations
            for kind in Kind:
                apply(cache, WatchStream((kind,)).feed(recording.bytes_of(kind, 0)))
            await reconciler.run_once()
            again = datapath.operations - before
        assert again == 0
        assert not cache.has_dirty
