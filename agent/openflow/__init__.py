"""OpenFlow 1.5 as the agent speaks it: ``codec`` (bytes and meaning, no I/O) and ``connection`` (the socket)."""
