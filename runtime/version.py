"""What the processes say of themselves."""

from __future__ import annotations

import platform
import sys

VERSION = "0.1.0"  # of antrea-py
UPSTREAM = (2, 7)  # the Antrea release whose formats are spoken

FULL = f"v{UPSTREAM[0]}.{UPSTREAM[1]}.0+antrea-py.{VERSION}"
"""A semantic version: upstream's clients compare what stands before the plus sign."""


def document() -> dict[str, str]:
    """The body of ``/version``: Kubernetes' version.Info, as Antrea's servers fill it."""
    major, minor = UPSTREAM
    return {
        "major": str(major),
        "minor": str(minor),
        "emulationMajor": str(major),
        "emulationMinor": str(minor),
        "minCompatibilityMajor": str(major),
        "minCompatibilityMinor": str(minor - 1),
        "gitVersion": FULL,
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": sys.implementation.name,
        "platform": f"{sys.platform}/{platform.machine()}",
    }
