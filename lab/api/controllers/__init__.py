"""What a cluster's controllers do about the objects: each observes the registry and writes through it."""
