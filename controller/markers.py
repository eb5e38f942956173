"""Which Pods of a node the agents may rely on: all that follows from them has been published.

An agent lets a Pod onto the network once the policies that apply to it are in force. It can know that it has
received all of them only if it is told: after the changes that follow from a Pod, its node's stream carries a
marker with the Pod's uid, and a stream that begins carries one for each Pod of the node that is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from controller.inputs import Key, Operation

Mark = Callable[[str, str, str, str], object]  # node, namespace, name, uid


class Markers:
    """``mark`` puts a marker into the streams of a node. ``exists`` tells whether a Pod is still there."""

    def __init__(self, mark: Mark, exists: Callable[[Key], bool]) -> None:
        self._mark = mark
        self._exists = exists
        self._pods: dict[str, dict[Key, str]] = {}  # by node: the uid of each Pod

    def settled(self, operations: Iterable[Operation]) -> None:
        """The consequences of these states of Pods are in the stores."""
        for operation in operations:
            pod: Any = operation.value
            node = pod.spec.node_name
            if not node or pod.spec.host_network:
                continue
            pods = self._pods.get(node)
            if pods is None:
                pods = self._pods[node] = {}
            uid = pod.metadata.uid
            if pods.get(operation.key) != uid:
                pods[operation.key] = uid
                self._mark(node, *operation.key, uid)

    def known(self, node: str) -> Iterator[tuple[str, str, str]]:
        """(namespace, name, uid) of the node's Pods. What has gone meanwhile is forgotten on the way."""
        pods = self._pods.get(node, {})
        for key in [key for key in pods if not self._exists(key)]:
            del pods[key]
        if not pods:
            self._pods.pop(node, None)
        for (namespace, name), uid in pods.items():
            yield namespace, name, uid
