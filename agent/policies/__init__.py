"""Network policies on a node: from the controller's stream to rules for the datapath.

The road, one file per step:

    watch      the connection: the multiplexed watch, or upstream's three; back-off, resume
    stream     bytes to events (sans-I/O): framing, snapshot until the bookmark, then increments
    wire       protobuf bodies to the objects of this package
    groups     groups whose members stay encoded
    cache      what was received, and which rule needs which group; says which rules are dirty
    resolve    one cached rule and the local pods to rules for the datapath, every name resolved
    reconcile  dirty rules to one commit of the flow programmer
    disk       everything received survives the process: files and a write-ahead journal
    readiness  a new pod waits here until the policies that select it are in the datapath
    report     realized generations go back to the controller
    controller joins them
"""
