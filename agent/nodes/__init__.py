"""The node itself in the pod network: its gateway, its routes and its peers.

objects     what the agent reads of a Node object
prepare     bridge, tunnel and gateway at start; the result is the NodeConfig
mtu         how large a packet of a pod may be
netlink     one thread for everything that talks netlink, also inside pods' namespaces
gateway     antrea-gw0 has exactly these addresses
routes      the routes to the peers' pods: desired state against actual state
hostrules   masquerading, and the mark of what the node itself sends
neighbors   where the tunnel's far ends are, for the userspace datapath
controller  follows the Node objects and keeps flows, routes and neighbours in step
"""
