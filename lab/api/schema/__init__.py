"""The shapes of Kubernetes' own kinds, as data (`*.types`), and what follows from a shape: decoding, merging
by list keys, OpenAPI."""
