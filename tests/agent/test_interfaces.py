"""The interface store: its indexes agree with one another after any sequence of changes."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.interfaces import InterfaceChange, InterfaceStore
from agent.model import PodInterface


def interface(
    name: str, pod: str = "web-0", container: str = "c", ofport: int = 1, ip: int = 2
) -> PodInterface:
    address = ipaddress.ip_address(f"10.0.0.{ip}")
    return PodInterface(name, "ns", pod, container, "0a:00:00:00:00:01", (address,), ofport)


def test_found_by_every_key() -> None:
    web = interface("web-0-aaaaaa")
    store = InterfaceStore([web])
    assert store.get("web-0-aaaaaa") is web
    assert store.by_pod("ns", "web-0") is web
    assert store.by_container("c") == (web,)
    assert store.by_ofport(1) is web
    assert store.by_ip(web.ips[0]) is web
    assert list(store) == [web]
    assert "web-0-aaaaaa" in store
    assert (store.by_pod("ns", "x"), store.by_container("x"), store.by_ofport(9)) == (None, (), None)


def test_a_new_sandbox_of_a_pod_comes_last_and_takes_over() -> None:
    old, new = interface("a", container="c1"), interface("b", container="c2", ofport=2, ip=3)
    store = InterfaceStore([old, new])
    assert store.for_pod("ns", "web-0") == (old, new)
    assert store.by_pod("ns", "web-0") is new
    store.remove("a")
    assert store.for_pod("ns", "web-0") == (new,)


def test_a_port_number_that_passed_on_is_not_forgotten_with_its_old_owner() -> None:
    old, new = interface("a"), interface("b", pod="web-1", container="c2")
    store = InterfaceStore([old, new])  # the same ofport and address
    store.remove("a")
    assert store.by_ofport(1) is new
    assert store.by_ip(new.ips[0]) is new


def test_an_interface_without_a_number_is_not_found_by_it() -> None:
    store = InterfaceStore([interface("a", ofport=-1), interface("b", ofport=0)])
    assert (store.by_ofport(-1), store.by_ofport(0)) == (None, None)


def test_listeners_hear_each_change_once_and_can_leave() -> None:
    store = InterfaceStore()
    heard: list[InterfaceChange] = []
    unsubscribe = store.subscribe(heard.append)
    one = interface("a")
    two = replace(one, ofport=5)
    store.add(one)
    store.add(one)
    store.add(two)
    store.remove("a")
    store.remove("a")
    assert heard == [InterfaceChange(None, one), InterfaceChange(one, two), InterfaceChange(two, None)]
    unsubscribe()
    unsubscribe()
    store.add(one)
    assert len(heard) == 3


changes = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from("abcd"),
        st.sampled_from("xy"),
        st.sampled_from("12"),
        st.integers(-1, 3),
    ),
    max_size=30,
)


@settings(max_examples=100, deadline=None)
@given(changes)
def test_indexes_agree_with_a_plain_dictionary(sequence: list[tuple[bool, str, str, str, int]]) -> None:
    store, model = InterfaceStore(), {}
    for add, name, pod, container, number in sequence:
        if add:
            model.pop(name, None) if model.get(name) != interface(name, pod, container, number, 2) else None
            model[name] = interface(name, pod, container, number, 2)
            store.add(model[name])
        else:
            assert store.remove(name) == model.pop(name, None)
        assert {entry.name: entry for entry in store} == model
        for key in "xy":
            assert set(store.for_pod("ns", key)) == {entry for entry in model.values() if entry.pod == key}
        for key in "12":
            assert set(store.by_container(key)) == {e for e in model.values() if e.container_id == key}
        for found in filter(None, map(store.by_ofport, range(1, 4))):
            assert model[found.name] == found
