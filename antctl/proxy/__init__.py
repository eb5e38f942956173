"""``antctl proxy``: the API of the controller or of an agent at a local address, without a login.

filters   which requests are let through: hosts, paths, methods
target    who is behind the proxy, and with whose credentials
server    the server itself
"""
