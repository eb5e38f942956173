"""What the containers of an agent's Pod run beside antrea-agent: each module is a command of the image.

    install_cni                 once, before the others: the CNI plugin and its configuration
    start_ovs                   ovsdb-server and ovs-vswitchd, for as long as the Pod lives
    container_liveness_probe    whether those two answer

The names are those of Antrea's images.
"""
