"""Who is asking, and may they: RBAC evaluation, the roles a cluster starts with, tokens."""
