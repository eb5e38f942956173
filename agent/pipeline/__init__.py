"""The pipeline: what the node's flows are, and how they get into Open vSwitch.

    tables             the tables by stage; which of them exist, and under which number
    registers          the registers, ct marks, ct labels and zones, each named once
    cookies            who a flow belongs to, as its cookie says
    building           flows from tables, match fragments and actions
    entry              where packets enter, and what happens to those that no flow matches
    pod_connectivity   forwarding between pods, gateway and tunnel; spoof guard; connection tracking
    policy_flows       network policies as conjunctions
    port_ranges        a port range as value/mask pairs
    sctp               SCTP without connection tracking, for the userspace datapath
    ids                conjunction ids that outlive the process
    desired            what is wanted by whom, merged into flows (no I/O)
    installer          what is in the switch, and how the difference gets there
    programmer         who wants what; the connection; commits and synchronizations
    results            what a commit did
    restoration        what has to happen, and in which order, after vswitchd was restarted
    conntrack          connections, remembered and put back (userspace datapath)
    unixctl            vswitchd's control socket

The rest of the agent uses the names of agent.pipeline.client.
"""
