"""The agent's own metrics, under upstream's names (Antrea v2.7). Read when ``/metrics`` is asked for."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.interfaces import InterfaceStore
from agent.model import Direction
from agent.pipeline.programmer import FlowProgrammer
from agent.policies.controller import PolicyController
from runtime import metrics


class AgentCollector(Collector):
    """Turns what the parts know into metrics; nothing is counted twice."""

    def __init__(
        self,
        interfaces: InterfaceStore,
        policies: PolicyController,
        programmer: FlowProgrammer,
    ) -> None:
        self._interfaces = interfaces
        self._policies = policies
        self._programmer = programmer

    def collect(self) -> Iterable[Metric]:
        policies = self._policies
        yield _gauge("antrea_agent_local_pod_count", "Pods on this node.", len(self._interfaces))
        yield _gauge(
            "antrea_agent_networkpolicy_count", "Policies on this node.", len(policies.cache.policies)
        )
        for direction, name in ((Direction.INGRESS, "ingress"), (Direction.EGRESS, "egress")):
            yield _gauge(
                f"antrea_agent_{name}_networkpolicy_rule_count",
                f"Rules of direction {name} on this node.",
                policies.rule_count(direction),
            )
        counts = self._programmer.table_counts()
        numbers = {name: number for number, name in self._programmer.layout.names.items()}
        yield _gauge("antrea_agent_ovs_total_flow_count", "Flows in all tables.", sum(counts.values()))
        family = GaugeMetricFamily(
            "antrea_agent_ovs_flow_count", "Flows by table.", labels=("table_id", "table_name")
        )
        for table, count in counts.items():
            family.add_metric((str(numbers.get(table, "")), table), count)
        yield family
        yield _counter("antrea_agent_policy_rounds", "Rounds of policy reconciliation.", policies.rounds)
        yield _counter(
            "antrea_agent_policy_reports", "Statuses of policies reported.", policies.reporter.reported
        )
        yield _counter(
            "antrea_agent_unconfirmed_pods",
            "Pods attached with the policies on the disk, because no controller was connected.",
            policies.readiness.unconfirmed,
        )

    def describe(self) -> Iterable[Metric]:
        return ()


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)


def register(collector: AgentCollector) -> None:
    metrics.REGISTRY.register(collector)
