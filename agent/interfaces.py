"""The interface store: which pod hangs on which port of br-int, as far as this agent knows.

One store lives as long as the agent. It is filled from the external_ids of OVS at start (they survive every
restart) and changed by CNI ADD and DEL only. Policies resolve pods to ports here and subscribe to changes.
All methods are synchronous and belong to the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from agent.model import IPAddress, PodInterface


@dataclass(frozen=True, slots=True)
class InterfaceChange:
    """``old`` None: attached; ``new`` None: detached; both: the interface is described anew."""

    old: PodInterface | None
    new: PodInterface | None

    @property
    def interface(self) -> PodInterface:
        interface = self.new or self.old
        assert interface is not None
        return interface


Listener = Callable[[InterfaceChange], None]


class InterfaceStore:
    """Pod interfaces by port name, with indexes by pod, container, ofport and address.

    A pod can have two interfaces for a moment: that of a sandbox that died and that of its successor.
    """

    def __init__(self, interfaces: Iterable[PodInterface] = ()) -> None:
        self._by_name: dict[str, PodInterface] = {}
        self._by_pod: dict[tuple[str, str], dict[str, PodInterface]] = {}
        self._by_container: dict[str, dict[str, PodInterface]] = {}
        self._by_ofport: dict[int, PodInterface] = {}
        self._by_ip: dict[IPAddress, PodInterface] = {}
        self._listeners: list[Listener] = []
        for interface in interfaces:
            self.add(interface)

    def add(self, interface: PodInterface) -> None:
        """Add, or replace the interface of the same name. Listeners hear of it before this returns."""
        old = self._by_name.get(interface.name)
        if old == interface:
            return
        if old is not None:
            self._forget(old)
        self._by_name[interface.name] = interface
        self._by_pod.setdefault(interface.key, {})[interface.name] = interface
        self._by_container.setdefault(interface.container_id, {})[interface.name] = interface
        if interface.ofport > 0:
            self._by_ofport[interface.ofport] = interface
        for ip in interface.ips:
            self._by_ip[ip] = interface
        self._notify(InterfaceChange(old, interface))

    def remove(self, name: str) -> PodInterface | None:
        """Remove by port name; None if there was none."""
        old = self._by_name.get(name)
        if old is not None:
            self._forget(old)
            self._notify(InterfaceChange(old, None))
        return old

    def get(self, name: str) -> PodInterface | None:
        return self._by_name.get(name)

    def for_pod(self, namespace: str, pod: str) -> tuple[PodInterface, ...]:
        """All interfaces of a pod, the one attached last at the end."""
        return tuple(self._by_pod.get((namespace, pod), {}).values())

    def by_pod(self, namespace: str, pod: str) -> PodInterface | None:
        """The interface of a pod that was attached last."""
        interfaces = self.for_pod(namespace, pod)
        return interfaces[-1] if interfaces else None

    def by_container(self, container_id: str) -> tuple[PodInterface, ...]:
        return tuple(self._by_container.get(container_id, {}).values())

    def by_ofport(self, ofport: int) -> PodInterface | None:
        return self._by_ofport.get(ofport)

    def by_ip(self, ip: IPAddress) -> PodInterface | None:
        return self._by_ip.get(ip)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` on every later change; the result ends the subscription.

        A listener must be quick and must not raise; it typically marks something dirty and wakes a task.
        """
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    def __iter__(self) -> Iterator[PodInterface]:
        return iter(list(self._by_name.values()))

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def _forget(self, old: PodInterface) -> None:
        del self._by_name[old.name]
        for index, key in ((self._by_pod, old.key), (self._by_container, old.container_id)):
            group = index[key]  # type: ignore[index]
            del group[old.name]
            if not group:
                del index[key]  # type: ignore[arg-type]
        # A number or an address may have passed to another interface already.
        if self._by_ofport.get(old.ofport) is old:
            del self._by_ofport[old.ofport]
        for ip in old.ips:
            if self._by_ip.get(ip) is old:
                del self._by_ip[ip]

    def _notify(self, change: InterfaceChange) -> None:
        for listener in list(self._listeners):
            listener(change)
