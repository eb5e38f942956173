"""OpenFlow 1.5 as the agent speaks it: ``codec`` (no I/O), ``connection`` (the socket), ``bundle``."""
