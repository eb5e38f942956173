"""Where antctl runs, and so whom it asks: inside an Antrea Pod its own process, elsewhere the cluster's API.

The only input is the environment variable POD_NAME (Antrea v2.7 antctl, mode selection). Two variables of our
own serve nodes that share one file system: ANTREA_RUN_DIR names the run directory in which the server has
written its token, ANTREA_API_SERVER the server's URL where it is not on its usual port.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

RUN_DIR = "/var/run/antrea"
TOKEN = "apiserver/loopback-client-token"
PORTS = {"agent": 10350, "controller": 10349, "flowaggregator": 10348}
_PREFIXES = {
    "antrea-agent": "agent",
    "antrea-controller": "controller",
    "flow-aggregator": "flowaggregator",
}


@dataclass(frozen=True, slots=True)
class Mode:
    """``component`` is agent, controller or flowaggregator; outside a Pod it is controller, by the API."""

    component: str
    in_pod: bool

    @property
    def letter(self) -> str:
        """A agent, C controller's Pod, F flow aggregator, R remote: the columns of the command table."""
        if not self.in_pod:
            return "R"
        return {"agent": "A", "controller": "C", "flowaggregator": "F"}[self.component]

    @property
    def server(self) -> str:
        return os.environ.get("ANTREA_API_SERVER") or f"https://127.0.0.1:{PORTS[self.component]}"

    @property
    def token_file(self) -> str:
        return f"{os.environ.get('ANTREA_RUN_DIR') or RUN_DIR}/{TOKEN}"


def current() -> Mode:
    pod = os.environ.get("POD_NAME", "")
    for prefix, component in _PREFIXES.items():
        if pod.startswith(prefix):
            return Mode(component, True)
    return Mode("controller", False)
