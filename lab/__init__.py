"""The embedded default: a Kubernetes API in memory and nodes made of network namespaces, on one machine.

    cli, cli_probe, demo      what people run
    handle                    a lab as tests, benchmarks and commands hold it
    supervisor/               the one process per lab that keeps all others running
    bootstrap, apply          what a fresh cluster needs; manifests through the API
    api/                      the Kubernetes API
    nodes/                    namespaces, links, Open vSwitch, the stand-ins for kubelet and container runtime
    probing/, matrix          real packets: who reaches whom
    directory, journal,       where a lab lives, what it made, whose processes are whose,
    processes, teardown       and how all of it goes away

What a lab is made of is written down before it is made, so that ``antrea-lab down`` can remove it after any
end; nothing that a lab did not make is ever touched.
"""
