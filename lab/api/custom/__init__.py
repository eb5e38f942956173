"""Custom resources: structural schemas, printer columns, the kinds that definitions bring to life."""
