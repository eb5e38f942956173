"""Manifests that a lab applies before its controller and agents start: data, in the order of the names."""
