"""What benchmarks.apiserver measures: the controller's API server with address groups in its stores.

    python -m benchmarks.served --kubeconfig FILE --port N --run-dir DIR --groups N

It is put together from the parts that antrea-controller is made of, with authentication and authorization by
the cluster, and has one path more: a POST to /benchmark/change gives a pod another address, computes what
follows and publishes it, and only then is answered. So a change begins where the server does.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

from apis.kubernetes.codec import NAMESPACES, NETWORK_POLICIES, PODS
from apiserver.listener import Listener
from apiserver.render import respond
from apiserver.request import Context
from apiserver.server import ApiServer
from client import kubeconfig
from client.rest import RestClient
from computation.graph import Graph
from controller.api import policies
from controller.authentication import Access
from controller.certificates import Certificates
from controller.publication import Publisher
from controller.realization import Realization
from runtime import log, process, version
from runtime.tasks import Supervisor

NAMESPACE = "benchmark"
MEMBERS = 4  # pods of an address group
NODES = 1000
CHANGE = "/benchmark/change"


def _pod(number: int, group: int, address: str) -> Any:
    return PODS.object(
        json.dumps(
            {
                "metadata": {
                    "name": f"pod-{number}",
                    "namespace": NAMESPACE,
                    "uid": f"00000000-0000-4000-8000-{number:012}",
                    "labels": {"group": f"g{group}"},
                },
                "spec": {"nodeName": f"node-{number % NODES}"},
                "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
            }
        ).encode()
    )


def fill(graph: Graph, groups: int) -> None:
    """As many address groups, of four pods each: every policy has a peer of its own."""
    namespace = {"metadata": {"name": NAMESPACE, "labels": {"kubernetes.io/metadata.name": NAMESPACE}}}
    graph.upsert_namespace(NAMESPACES.object(json.dumps(namespace).encode()))
    for group in range(groups):
        for member in range(MEMBERS):
            number = group * MEMBERS + member
            graph.upsert_pod(_pod(number, group, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"))
        peer = {"podSelector": {"matchLabels": {"group": f"g{group}"}}}
        policy = {
            "metadata": {
                "name": f"policy-{group}",
                "namespace": NAMESPACE,
                "uid": f"00000000-0000-4000-9000-{group:012}",
            },
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [peer]}]},
        }
        graph.upsert_network_policy(NETWORK_POLICIES.object(json.dumps(policy).encode()))


async def serve(supervisor: Supervisor, arguments: argparse.Namespace) -> None:
    client = RestClient(await kubeconfig.load(arguments.kubeconfig))
    supervisor.on_close("the connections to the Kubernetes API", client.close)
    certificates = Certificates(client, "kube-system", arguments.run_dir)
    tls = await certificates.start()
    access = Access(client, arguments.run_dir, "", tls.trust_clients)
    server = ApiServer(title="Antrea", version=version.document(), authenticators=access.authenticators)
    server.authorizer = access.authorizer(lambda: True)
    stores = server.stores
    for endpoint in policies.endpoints(stores, Realization()):
        server.register(endpoint)

    graph = Graph()
    fill(graph, arguments.groups)
    stores.publish(graph.flush())
    gc.collect()
    gc.freeze()
    changes = 0

    async def change(ctx: Context) -> Any:
        nonlocal changes
        changes += 1
        graph.upsert_pod(_pod(0, 0, f"192.0.2.{changes % 250 + 1}"))
        stores.publish(graph.flush())
        return respond(ctx, b"{}\n", "application/json")

    server.path(CHANGE, change)
    publisher = Publisher(client, "kube-system", ())
    publisher.current, certificates.publish = certificates.fresh_bundle, publisher.publish
    listener = Listener(server)
    supervisor.on_close("the API server", listener.close)
    await listener.listen("127.0.0.1", arguments.port, tls=tls.context)
    supervisor.start("front-proxies", access.run)
    certificates.look_after(supervisor)
    publisher.start(supervisor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--groups", type=int, required=True)
    arguments = parser.parse_args()
    log.setup(0)
    os.environ.setdefault("POD_NAMESPACE", "kube-system")
    sys.exit(process.run("benchmark", lambda supervisor: serve(supervisor, arguments)))


if __name__ == "__main__":
    main()
