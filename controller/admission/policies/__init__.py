"""Antrea's two kinds of policy, ClusterNetworkPolicy and NetworkPolicy of crd.antrea.io: one set of rules.

``objects`` has the structs, ``naming`` the mutation, ``rules`` the order in which the checks of the other
files are made: the first that fails is the refusal.
"""
