"""Running labs for tests: real nodes, real packets.

``lab`` in tests/lab and tests/e2e comes from ``running_lab`` below:

    @pytest.fixture(scope="session")
    def lab() -> Iterator[Lab]:
        with running_lab("t", nodes=2) as lab:
            yield lab
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.handle import Lab


@contextmanager
def running_lab(
    prefix: str = "t",
    nodes: int = 2,
    family: str = "ipv4",
    base: Path | None = None,
    datapath: str = "userspace",
) -> Iterator[Lab]:
    """A lab with a name of its own, up and ready; gone afterwards, whatever the test did to it.

    When the test fails, the ends of the logs are printed."""
    lab = Lab(f"{prefix}-{secrets.token_hex(2)}", base)
    failed = True
    try:
        lab.up(nodes, family, say=lambda text: print("lab:", text, file=sys.stderr), datapath=datapath)
        yield lab
        failed = False
    finally:
        if lab.directory.exists:
            if failed:
                print_logs(lab)
            lab.down()


def print_logs(lab: Lab, lines: int = 15) -> None:
    """The end of every log of the lab."""
    for path in sorted(lab.directory.path.rglob("*.log")):
        text = path.read_text(errors="replace").splitlines()[-lines:]
        if text:
            print(f"--- {path.relative_to(lab.directory.path)}", *text, sep="\n", file=sys.stderr)


def command(name: str) -> str:
    """A command of the project, beside the interpreter that runs the tests."""
    found = shutil.which(name, path=os.path.dirname(sys.executable))
    assert found is not None, f"{name} is not installed in this environment"
    return found
