"""The four resources that are watched, and what each does to the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apis.kubernetes.codec import NAMESPACES as NAMESPACE_CODEC
from apis.kubernetes.codec import NETWORK_POLICIES as NETWORK_POLICY_CODEC
from apis.kubernetes.codec import NODES as NODE_CODEC
from apis.kubernetes.codec import PODS as POD_CODEC
from client.reflector import Reflector
from client.resources import NAMESPACES, NETWORK_POLICIES, NODES, PODS
from client.rest import RestClient
from computation.graph import Graph
from controller.agent_infos import AgentInfos
from controller.api.stats import PolicyStatistics
from controller.inputs import Input, Key, Queue

_SOURCES = (
    (NAMESPACES, NAMESPACE_CODEC),
    (NODES, NODE_CODEC),
    (PODS, POD_CODEC),
    (NETWORK_POLICIES, NETWORK_POLICY_CODEC),
)

Apply = Callable[[Key, Any], None]


def inputs(queue: Queue) -> dict[str, Input]:
    return {
        resource.plural: Input(resource.plural, codec.kind, codec.object, queue)
        for resource, codec in _SOURCES
    }


def reflectors(client: RestClient, handlers: dict[str, Input]) -> dict[str, Reflector]:
    return {
        resource.plural: Reflector(client, resource.path(), handlers[resource.plural])
        for resource, _ in _SOURCES
    }


def applications(
    graph: Graph, statistics: PolicyStatistics, agent_infos: AgentInfos | None = None
) -> dict[str, Apply]:
    """By resource: how a new state (or None: the end) of an object enters the computation."""

    def namespace(key: Key, value: Any) -> None:
        graph.delete_namespace(key[1]) if value is None else graph.upsert_namespace(value)

    def node(key: Key, value: Any) -> None:
        graph.delete_node(key[1]) if value is None else graph.upsert_node(value)
        if agent_infos is not None:
            agent_infos.gone(key[1]) if value is None else agent_infos.exists(key[1])

    def pod(key: Key, value: Any) -> None:
        graph.delete_pod(*key) if value is None else graph.upsert_pod(value)

    def policy(key: Key, value: Any) -> None:
        if value is None:
            graph.delete_network_policy(*key)
            statistics.gone(*key)
        else:
            graph.upsert_network_policy(value)
            statistics.exists(*key, value.metadata.uid)

    return {
        NAMESPACES.plural: namespace,
        NODES.plural: node,
        PODS.plural: pod,
        NETWORK_POLICIES.plural: policy,
    }
