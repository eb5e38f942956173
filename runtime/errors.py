"""The one exception that ends a start: its text is a sentence for the person who wrote the configuration."""

from __future__ import annotations


class ConfigurationError(Exception):
    """Configuration that cannot be used. ``main`` prints the text and exits with status 1."""
