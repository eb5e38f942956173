"""The process's Prometheus metrics: one registry, its text, and the figures that every process has."""

from __future__ import annotations

import asyncio

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

__all__ = ["REGISTRY", "Counter", "Gauge", "Histogram", "exposition", "watch_loop_lag"]

# The library's own default registry adds garbage-collector callbacks that cost time in every collection.
REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)

LOOP_LAG = Histogram(
    "antrea_event_loop_lag_seconds",
    "How late the event loop runs what is due: the time that other work held it.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
    registry=REGISTRY,
)
LOOP_LAG_MAX = Gauge(
    "antrea_event_loop_lag_max_seconds",
    "The largest lag of the event loop since the start.",
    registry=REGISTRY,
)
TASK_CRASHES = Counter(
    "antrea_task_crashes_total",
    "Background tasks that ended by an unexpected error.",
    ["task"],
    registry=REGISTRY,
)


def exposition(accept: str = "") -> tuple[str, bytes]:
    """The content type and the body of ``/metrics``, in OpenMetrics where the client asks for it."""
    from prometheus_client.exposition import choose_encoder

    encoder, content_type = choose_encoder(accept)
    return content_type, encoder(REGISTRY)


async def watch_loop_lag(period: float = 0.1) -> None:
    """Sleep and measure by how much the sleep was too long, for ever."""
    loop = asyncio.get_running_loop()
    largest = 0.0
    while True:
        due = loop.time() + period
        await asyncio.sleep(period)
        lag = max(0.0, loop.time() - due)
        LOOP_LAG.observe(lag)
        if lag > largest:
            largest = lag
            LOOP_LAG_MAX.set(lag)


def forget_default_registry() -> None:
    """Drop the collectors that importing prometheus_client has put into its own registry."""
    for collector in list(prometheus_client.REGISTRY._collector_to_names):
        prometheus_client.REGISTRY.unregister(collector)
