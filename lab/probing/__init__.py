"""Probes with real packets: does this pod reach that address and port, and who answers?

    with Prober(directory.probe_ports) as prober:
        results = prober.probe_all([Probe("x/a", netns, "10.10.1.3", 80, "TCP", expect="y/b")])
        stream = prober.stream(probe, rate=10)        # for fault tests: a fresh probe every 100 ms

Each probe is sent from inside the source's network namespace, from a source port that none has used
lately, so that no connection tracking entry answers for a policy that has changed since.
"""

from lab.probing.model import Outcome, Probe, Result
from lab.probing.prober import Prober, Stream

__all__ = ["Outcome", "Probe", "Prober", "Result", "Stream"]
