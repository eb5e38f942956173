"""The agent's own API on its node, as upstream's: JSON for antctl in agent mode, health, metrics.

server     the HTTPS server: who may, certificate, token file
paths      what is answered: pods, policies, groups, gates, log level
ovsflows   the flows, whole or those of a pod, a policy, a table
"""
