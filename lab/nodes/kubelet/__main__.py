"""python -m lab.nodes.kubelet CONFIG.json"""

from __future__ import annotations

import sys
from pathlib import Path

from client import kubeconfig
from client.rest import RestClient
from lab.nodes.kubelet.config import read
from lab.nodes.kubelet.kubelet import Kubelet
from lab.nodes.kubelet.node_status import NodeStatus
from runtime import log, process
from runtime.tasks import Supervisor


async def serve(supervisor: Supervisor) -> None:
    config = read(Path(sys.argv[1]))
    endpoint = await kubeconfig.load(config.kubeconfig)
    client = RestClient(endpoint, user_agent="antrea-lab-kubelet")
    supervisor.on_close("client", client.close)
    kubelet = Kubelet(config, client)
    supervisor.on_close("pods", kubelet.close)
    supervisor.start("node", NodeStatus(config, client).run)
    supervisor.start("runtime", kubelet.runtime.run)
    kubelet.adopt()
    supervisor.start("pods", kubelet.reflector.run)


if __name__ == "__main__":
    log.setup()
    sys.exit(process.run("kubelet", serve))
