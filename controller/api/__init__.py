"""What antrea-controller serves: three API groups and a few plain paths, one module per subject."""
