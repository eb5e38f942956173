"""Which processes a lab has, and what each is told: the one place that knows the others' command lines."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from lab.addressing import API_PORT, CONTROL_ADDRESS, NodeAddresses, cluster_cidrs, service_cidrs
from lab.bootstrap import component_kubeconfig, write_node_kubeconfig
from lab.directory import LabDirectory, LabFacts, NodeDirectory, write_atomically
from lab.nodes import netns, ovs
from lab.nodes.kubelet.config import KubeletConfig
from runtime.child import ProcessSpec

PROJECT = Path(__file__).resolve().parents[2]
# The plugin's file is also its executable; it starts in 10 ms because it uses neither site nor packages.
CNI_PLUGIN = PROJECT / "agent" / "cni" / "plugin.py"
CNI_CONFIG = {"cniVersion": "1.0.0", "name": "antrea", "type": "antrea", "ipam": {"type": "host-local"}}


def script(name: str) -> str:
    """A command of this distribution, beside the interpreter that runs it."""
    return str(Path(sys.executable).parent / name)


def control_netns(directory: LabDirectory, facts: LabFacts) -> Path | None:
    return netns.path_of(directory.control_netns) if facts.with_nodes else None


def api(directory: LabDirectory, facts: LabFacts, listen_fd: int) -> ProcessSpec:
    argv = [
        sys.executable,
        "-m",
        "lab.api",
        "--state-dir",
        str(directory.api),
        "--listen-fd",
        str(listen_fd),
        "--cluster-cidr",
        ",".join(cluster_cidrs(facts.family)),
        "--service-cidr",
        ",".join(service_cidrs(facts.family)),
    ]
    if facts.load:
        argv += ["--load", facts.load]
    if facts.with_nodes:
        argv += ["--listen", f"{CONTROL_ADDRESS}:{API_PORT}"]
    return ProcessSpec(
        "api",
        tuple(argv),
        directory.path / "api.log",
        netns=control_netns(directory, facts),
        pass_fds=(listen_fd,),
    )


def controller(directory: LabDirectory, facts: LabFacts) -> ProcessSpec:
    configuration = {
        "clientConnection": {"kubeconfig": str(component_kubeconfig(directory, "antrea-controller"))},
        "apiPort": facts.controller_port,
        "apiAddress": CONTROL_ADDRESS if facts.with_nodes else "127.0.0.1",
        "runDir": str(directory.controller),
    }
    path = directory.controller / "antrea-controller.conf"
    write_atomically(path, yaml.safe_dump(configuration, sort_keys=False))
    return ProcessSpec(
        "antrea-controller",
        (script("antrea-controller"), "--config", str(path)),
        directory.path / "antrea-controller.log",
        env={"POD_NAME": "antrea-controller-0", "POD_NAMESPACE": "kube-system", "NODE_NAME": "control-plane"},
        netns=control_netns(directory, facts),
    )


def open_vswitch(directory: LabDirectory, facts: LabFacts, node: NodeDirectory) -> list[ProcessSpec]:
    """The pair, database first."""
    namespace = netns.path_of(directory.node_netns(node.name))
    return [
        ProcessSpec(
            f"{node.name}/{name}",
            tuple(command),
            node.log / f"{name}.log",
            env=ovs.environment(node),
            netns=namespace,
        )
        for name, command in (
            ("ovsdb-server", ovs.database_command(node)),
            ("ovs-vswitchd", ovs.switch_command(node, facts.datapath)),
        )
    ]


def runtime(directory: LabDirectory, node: NodeDirectory) -> ProcessSpec:
    return ProcessSpec(
        f"{node.name}/runtime",
        # Without site: a responder in each pod carries what this process has imported.
        (sys.executable, "-S", "-m", "lab.nodes.runtime", str(node.runtime_socket)),
        node.log / "runtime.log",
        env={"PYTHONPATH": str(PROJECT)},
        netns=netns.path_of(directory.node_netns(node.name)),
    )


def kubelet(
    directory: LabDirectory, facts: LabFacts, node: NodeDirectory, addresses: NodeAddresses
) -> ProcessSpec:
    path = node.kubelet / "config.json"
    KubeletConfig(
        node=node.name,
        lab=directory.name,
        netns=directory.node_netns(node.name),
        kubeconfig=str(write_node_kubeconfig(directory, facts, node)),
        addresses=list(addresses.underlay),
        pod_cidrs=list(addresses.pod_cidrs),
        cni_command=[sys.executable, "-I", "-S", str(CNI_PLUGIN)],
        cni_config=json.dumps(CNI_CONFIG),
        cni_environment=cni_environment(node),
        cni_socket=str(cni_socket(node)),
        runtime_socket=str(node.runtime_socket),
        state=str(node.kubelet),
        journal=str(node.journal),
    ).write(path)
    return ProcessSpec(
        f"{node.name}/kubelet",
        (sys.executable, "-m", "lab.nodes.kubelet", str(path)),
        node.log / "kubelet.log",
        netns=netns.path_of(directory.node_netns(node.name)),
    )


def cni_socket(node: NodeDirectory) -> Path:
    return node.run / "cni.sock"


def cni_environment(node: NodeDirectory) -> dict[str, str]:
    """How the plugin finds its node's agent: on a real node the path is fixed."""
    return {"ANTREA_CNI_SOCKET": str(cni_socket(node))}


def agent(
    directory: LabDirectory, facts: LabFacts, node: NodeDirectory, addresses: NodeAddresses
) -> ProcessSpec:
    write_atomically(
        node.agent_config, yaml.safe_dump(agent_configuration(directory, facts, node), sort_keys=False)
    )
    return ProcessSpec(
        f"{node.name}/antrea-agent",
        (script("antrea-agent"), "--config", str(node.agent_config)),
        node.log / "antrea-agent.log",
        env={"NODE_NAME": node.name, "POD_NAME": f"antrea-agent-{node.name}", "POD_NAMESPACE": "kube-system"},
        netns=netns.path_of(directory.node_netns(node.name)),
    )


def agent_configuration(directory: LabDirectory, facts: LabFacts, node: NodeDirectory) -> dict[str, Any]:
    kubeconfig = str(component_kubeconfig(directory, "antrea-agent"))
    userspace = facts.datapath == "userspace"
    return {
        "clientConnection": {"kubeconfig": kubeconfig},
        "ovsDatapathType": "netdev" if userspace else "system",
        "ovsRunDir": str(node.ovs),
        "cniSocket": str(cni_socket(node)),
        "hostProcPathPrefix": "",
        # Else TCP and UDP leave pods with checksums that the userspace datapath does not complete.
        "disableTXChecksumOffload": userspace,
        "apiPort": 10350,
        "nodeName": node.name,
        "runDir": str(node.run),
        "cniDataDir": str(node.cni),
        "antreaNamespace": "kube-system",
    }


def node_environment(directory: LabDirectory, node: NodeDirectory) -> dict[str, str]:
    """What a command that is run "on" a node finds in its environment: OVS tools and antctl in agent mode."""
    return {
        **ovs.environment(node),
        "NODE_NAME": node.name,
        "POD_NAME": f"antrea-agent-{node.name}",
        "POD_NAMESPACE": "kube-system",
        "KUBECONFIG": str(directory.inner_kubeconfig),
        "ANTREA_RUN_DIR": str(node.run),
    }
