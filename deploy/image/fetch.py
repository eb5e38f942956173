#!/usr/bin/env python3
"""Fetches what the image is made of into a directory: Debian's packages and Python's wheels.

    python deploy/image/fetch.py DIR

This is the step that needs a network; deploy/image/build.py does without. Debian packages come through apt as
this machine is configured, for its release and architecture, dependencies included as on an empty system;
wheels through pip, for Debian's Python.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
PYTHON = "3.11"  # of Debian 12
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def packages() -> list[str]:
    lines = (HERE / "packages.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def wheels() -> list[str]:
    """The project's dependencies, and what building its own wheel takes."""
    with (PROJECT / "pyproject.toml").open("rb") as file:
        document = tomllib.load(file)
    return [*document["project"]["dependencies"], *document["build-system"]["requires"]]


def stamp() -> str:
    """Changes with what is to be fetched; a directory that is complete holds it in ``fetched``."""
    return "\n".join([*packages(), *wheels()])


def complete(directory: Path) -> bool:
    path = directory / "fetched"
    return path.exists() and path.read_text() == stamp()


def fetch_packages(target: Path) -> None:
    """The packages and everything that they depend on. Raises CalledProcessError."""
    (target / "partial").mkdir(parents=True, exist_ok=True)
    if not any(Path("/var/lib/apt/lists").glob("*_Packages*")):
        subprocess.run(["apt-get", "update", "-q"], check=True, stdout=sys.stderr)
    with tempfile.NamedTemporaryFile(prefix="dpkg-status-") as empty:  # as if nothing were installed
        subprocess.run(
            [
                "apt-get", "install", "-q", "-y", "--download-only", "--no-install-recommends",
                "-o", "Debug::NoLocking=1", "-o", f"Dir::State::status={empty.name}",
                "-o", f"Dir::Cache::archives={target}", "-o", "APT::Sandbox::User=root", *packages(),
            ],
            check=True, stdout=sys.stderr, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )  # fmt: skip


def fetch_wheels(target: Path) -> None:
    """Raises CalledProcessError."""
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    subprocess.run(
        [
            sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check",
            "--dest", str(target), "--only-binary=:all:", "--python-version", PYTHON,
            "--implementation", "cp", *platforms, *wheels(),
        ],
        check=True, stdout=sys.stderr,
    )  # fmt: skip


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("Usage: python deploy/image/fetch.py DIR")
    target = Path(sys.argv[1]).resolve()
    if complete(target):
        return
    for kind in ("*.deb", "*.whl"):  # no leftovers of an older list
        for path in target.glob(kind):
            path.unlink()
    try:
        fetch_packages(target)
        fetch_wheels(target)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"fetch: {error}. Is this Debian 12 with apt and pip, and are their servers within reach?")
    (target / "fetched").write_text(stamp())
    kinds = {kind: len(list(target.glob(f"*.{kind}"))) for kind in ("deb", "whl")}
    print(f"{target}: {kinds['deb']} Debian packages, {kinds['whl']} wheels", file=sys.stderr)


if __name__ == "__main__":
    main()
