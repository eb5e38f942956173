"""The lab's one error that is meant for the person at the keyboard: a sentence, no traceback."""

from __future__ import annotations


class LabError(Exception):
    """What, why and how to mend it, in one or two sentences."""
