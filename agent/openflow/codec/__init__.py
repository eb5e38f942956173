"""OpenFlow 1.5 with Open vSwitch's extensions, without I/O: bytes in, events out, and back.

One file per concept:

    errors    the one exception of this package, and names for OpenFlow's error codes
    fields    every match field by number, width and names
    match     fragments of matches; joining them in OVS's own order; reading them back
    actions   one function per action, each giving the bytes of that action
    learn     the learn action, which describes a flow inside a flow
    flow      a flow: identity (table, priority, match) and body (cookie, instructions)
    text      flows as ``ovs-ofctl dump-flows`` prints them
    messages  whole messages to send
    events    what received messages mean
    descriptions  flows, groups, meters, ports and tables as the switch describes them
    stream    a buffer that turns received bytes into events

Matches and instructions are kept as the bytes that go over the wire, in the order in which OVS itself
writes them. So a flow that was sent and the same flow read back from the switch are equal as bytes, and
encoding 100,000 flows is little more than joining prepared pieces.
"""
