"""The lab's stand-in for kubelet: one process per node, in the node's network namespace.

It registers the Node and renews its Lease, watches the Pods bound to the node, makes a network namespace
for each, calls the CNI plugin as a container runtime does, has the pod's responder started in it, probes
readiness, reports status, and takes pods down with their grace period. Pods live on when it is restarted:
what it made is on disk (sandbox records), what runs is the runtime's.
"""
