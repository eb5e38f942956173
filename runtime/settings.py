"""What the configuration files of all daemons have in common, and what is said of them at start."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

import msgspec

from runtime.config import Loaded, Section
from runtime.errors import ConfigurationError
from runtime.features import FeatureGates


class DaemonConfig(Section):
    """Keys of Antrea that controller and agent share."""

    feature_gates: dict[str, bool] = {}
    enable_prometheus_metrics: bool | None = None
    kube_api_server_override: str = msgspec.field(name="kubeAPIServerOverride", default="")

    @property
    def metrics(self) -> bool:
        """/metrics is served unless it is switched off."""
        return self.enable_prometheus_metrics is not False


def check_address(value: str, key: str, source: str) -> None:
    """Raises ConfigurationError unless the value of the key is an IP address."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise ConfigurationError(
            f"The value of {key} in {source} is {value!r}: write an IP address."
        ) from None


def notes(
    loaded: Loaded[Any], gates: FeatureGates, implemented: Iterable[str], source: str, name: str
) -> tuple[str, ...]:
    """Sentences to be logged once: what the file sets and the daemon ``name`` ignores."""
    found = []
    if sentence := loaded.inert_sentence(source):
        found.append(sentence)
    if idle := gates.without_effect(implemented):
        found.append(f"{source} sets feature gates that have no effect in {name}: {', '.join(idle)}.")
    return tuple(found)
