"""The process on a node. Its parts are joined in agent.main."""

import os

# gRPC reads this when it is imported. Its handlers for fork get in the way of programs that the agent starts
# (and log a line for each); the agent never forks a copy of itself.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
