"""Where the parts of the container image are kept between runs, and whether they are there."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
PARTS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "antrea-py", "image")


def script(name: str) -> ModuleType:
    """A script of deploy/image as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "deploy" / "image" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def why_not() -> str | None:
    """The sentence to skip the image's tests with, or None."""
    if os.geteuid() != 0:
        return "the image is unpacked and its commands are run in a root of their own: run the tests as root"
    if not script("fetch").complete(PARTS):
        return f"{PARTS} does not hold what the image is made of: `tools/setup --kubernetes` fetches it"
    return None
