"""A TLS server in a process of its own, for tests that attack it: python -m tests.apiserver.attacked LIMITS

Prints its port, and then its counters whenever a line comes in.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from apiserver.certificates import ServingTLS, self_signed
from apiserver.listener import Limits, Listener
from tests.apiserver.cluster import make_cluster


def _resident() -> float:
    """MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


async def main(limits: Limits) -> None:
    server, _ = make_cluster()
    listener = Listener(server, limits)
    tls = ServingTLS(self_signed("test", ["127.0.0.1"]), ask_clients=True)
    _, port = await listener.listen("127.0.0.1", 0, tls=tls.context)
    print(json.dumps({"port": port, "ca": tls.pair.certificate.decode()}), flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        connections = listener.connections
        counters = {
            "open": len(connections),
            "shaking": connections.shaking,
            "refused": connections.refused,
            "evicted": connections.evicted,
            "resident": _resident(),
        }
        print(json.dumps(counters), flush=True)
    await listener.close(0.5)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(Limits(**json.loads(sys.argv[1]))))
