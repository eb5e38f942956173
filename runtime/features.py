"""Feature gates: what each is called, when it came, and which are on in this process.

The table is the contract of Antrea v2.7 (34 gates), plus those that v1.15 to v2.6 knew and v2.7 no longer
does: they are accepted, have no effect, and are named once at start. Any other name ends the start.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from runtime.errors import ConfigurationError


class Stage(enum.Enum):
    ALPHA = "ALPHA"
    BETA = "BETA"
    GA = "GA"
    DEPRECATED = "DEPRECATED"
    REMOVED = "REMOVED"


@dataclass(frozen=True, slots=True)
class Gate:
    name: str
    components: str  # "A" agent, "C" controller, "AC" both
    default: bool
    stage: Stage
    releases: str  # the first release of each stage, oldest first
    locked: bool = False  # cannot be switched away from its default


def _table(text: str) -> dict[str, Gate]:
    gates = {}
    for line in text.strip().splitlines():
        name, components, default, stage, releases = line.split(maxsplit=4)
        gates[name] = Gate(
            name, components, default.startswith("on"), Stage(stage), releases, default == "on!"
        )
    return gates


GATES: Mapping[str, Gate] = _table("""
AntreaProxy                   A  on   GA         alpha 0.8, beta 0.11, GA 1.14
EndpointSlice                 A  on!  GA         alpha 0.13, beta 1.11, GA 1.14
TopologyAwareHints            A  on!  GA         alpha 1.8, beta 1.12, GA 2.5
ServiceTrafficDistribution    A  on!  GA         beta 2.2, GA 2.5
PreferSameTrafficDistribution A  off  ALPHA      alpha 2.5
CleanupStaleUDPSvcConntrack   A  on   BETA       alpha 1.13, beta 2.1
LoadBalancerModeDSR           A  off  ALPHA      alpha 1.13
AntreaPolicy                  AC on   BETA       alpha 0.8, beta 1.0
Traceflow                     AC on   BETA       alpha 0.8, beta 0.11
PacketCapture                 A  off  ALPHA      alpha 2.2
FlowExporter                  A  off  ALPHA      alpha 0.9
NetworkPolicyStats            AC on   BETA       alpha 0.10, beta 1.2
NodePortLocal                 A  on   GA         alpha 0.13, beta 1.4, GA 1.14
Egress                        AC on   BETA       alpha 1.0, beta 1.6
EgressTrafficShaping          A  off  ALPHA      alpha 1.14
EgressSeparateSubnet          A  on   BETA       alpha 1.15, beta 2.3
NodeIPAM                      C  on   BETA       alpha 1.4, beta 1.12
AntreaIPAM                    AC off  ALPHA      alpha 1.4
Multicast                     AC on   BETA       alpha 1.5, beta 1.12
Multicluster                  AC off  ALPHA      alpha 1.7
SecondaryNetwork              A  off  ALPHA      alpha 1.5
ServiceExternalIP             AC on   BETA       alpha 1.5, beta 2.3
TrafficControl                A  off  ALPHA      alpha 1.7
IPsecCertAuth                 AC off  ALPHA      alpha 1.7
ExternalNode                  A  off  ALPHA      alpha 1.8
SupportBundleCollection       AC off  ALPHA      alpha 1.10
L7NetworkPolicy               AC off  ALPHA      alpha 1.10
AdminNetworkPolicy            C  off  DEPRECATED alpha 1.13, deprecated 2.7
ClusterNetworkPolicy          C  off  ALPHA      alpha 2.7
NodeNetworkPolicy             A  off  ALPHA      alpha 1.15
NodeLatencyMonitor            A  off  ALPHA      alpha 2.1
BGPPolicy                     A  off  ALPHA      alpha 2.1
NFTablesHostNetworkMode       A  off  ALPHA      alpha 2.5
AntreaNodeConfig              A  on   BETA       beta 2.7
""")

REMOVED: Mapping[str, Gate] = _table("""
L7FlowExporter                A  off  REMOVED    alpha 1.15, deprecated 2.5, removed 2.6
""")

# A gate on the left does nothing without those on the right.
REQUIRES: Mapping[str, tuple[str, ...]] = {
    "SecondaryNetwork": ("AntreaIPAM",),
    "ClusterNetworkPolicy": ("AntreaPolicy",),
    "AdminNetworkPolicy": ("AntreaPolicy",),
}

_GROUPS = {"AllAlpha": Stage.ALPHA, "AllBeta": Stage.BETA}


class FeatureGates:
    """The gates of one process: defaults, then AllAlpha/AllBeta, then single names."""

    def __init__(self, component: str, overrides: Mapping[str, bool] | None = None, source: str = "") -> None:
        """``component`` is "A" (agent) or "C" (controller); ``source`` names the file in error sentences.

        Gates of the other component are accepted, as upstream does, and reported by ``without_effect``.
        """
        overrides = overrides or {}
        where = f" in {source}" if source else ""
        self.component = component
        self._enabled = {name: gate.default for name, gate in GATES.items()}
        for group, stage in _GROUPS.items():
            if group in overrides:
                for name, gate in GATES.items():
                    if gate.stage is stage:
                        self._enabled[name] = overrides[group]
        for name, value in overrides.items():
            if not isinstance(value, bool):
                raise ConfigurationError(
                    f"The value of featureGates.{name}{where} is {value!r}: write true or false."
                )
            if name in _GROUPS or name in REMOVED:
                continue
            known = GATES.get(name)
            if known is None:
                raise ConfigurationError(
                    f"featureGates{where} names {name!r}, which is no feature gate of Antrea: "
                    f"remove it or correct its spelling{_suggestion(name, GATES)}."
                )
            if known.locked and value != known.default:
                raise ConfigurationError(
                    f"featureGates.{name}{where} cannot be {str(value).lower()}: "
                    f"the feature is generally available and its gate is locked; remove the line."
                )
            self._enabled[name] = value
        for name, needed in REQUIRES.items():
            missing = [other for other in needed if self._enabled[name] and not self._enabled[other]]
            if missing and overrides.get(name):
                raise ConfigurationError(
                    f"featureGates.{name}{where} needs {', '.join(missing)}: "
                    f"enable that gate too, or remove {name}."
                )
        self._overrides = dict(overrides)

    def enabled(self, name: str) -> bool:
        """Whether the gate is on. Raises KeyError for a name that is no gate: a programming error."""
        return self._enabled[name]

    def without_effect(self, implemented: Iterable[str]) -> list[str]:
        """The gates that the configuration sets and that this process, which has ``implemented``, ignores."""
        known = set(implemented)
        return sorted(name for name in self._overrides if name not in known and name not in _GROUPS)

    def status(self, component: str | None = None) -> list[tuple[Gate, bool]]:
        """The gates of a component, sorted by name, with their state."""
        wanted = component or self.component
        return [
            (gate, self._enabled[name]) for name, gate in sorted(GATES.items()) if wanted in gate.components
        ]


def _suggestion(name: str, known: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
