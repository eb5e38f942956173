"""Kubernetes' own kinds: how they are written in protobuf (fields.json) and where that comes from."""
