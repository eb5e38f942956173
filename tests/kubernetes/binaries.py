"""The control plane's own binaries: found where the field's convention puts them, or built once into a cache.

``KUBEBUILDER_ASSETS`` names a directory with ``kube-apiserver``, ``kube-controller-manager``, ``kubectl`` and
``etcd``. Without it the first three are built from their Go modules (tests/kubernetes/go pins them; about
five minutes on two cores) into ``$XDG_CACHE_HOME/antrea-py/kubernetes/VERSION``; etcd is Debian's. The
version is the one proven with Debian 12's etcd 3.4.

    python -m tests.kubernetes.binaries        build what is missing and print the directory
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

VERSION = "1.34.4"
MODULE = Path(__file__).parent / "go"
BUILT = ("kube-apiserver", "kube-controller-manager", "kubectl")
GO_AT_LEAST = (1, 24)
_GO_PLACES = (
    str(Path(sys.prefix, "bin")),  # `tools/setup --kubernetes` puts one into the virtual environment
    *(str(path) for path in Path(sys.prefix).glob("lib/python*/site-packages/go/bin")),
    "/usr/local/go/bin",
)
_BUILD_SECONDS = 3600


class Unavailable(Exception):
    """The tier cannot run here; the text says what to install."""


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base, "antrea-py", "kubernetes", VERSION)


def find(name: str) -> Path | None:
    """A binary that is there already."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    places = [Path(assets)] if assets else []
    if name in BUILT:
        places.append(cache())
    else:
        places += [Path(place) for place in os.environ.get("PATH", "").split(":") if place]
        places += [Path("/usr/bin"), Path("/usr/sbin")]
    return next((place / name for place in places if os.access(place / name, os.X_OK)), None)


def go() -> str | None:
    """A Go toolchain that is new enough."""
    candidates = [shutil.which("go"), *(f"{place}/go" for place in _GO_PLACES)]
    for candidate in candidates:
        if candidate is None or not os.access(candidate, os.X_OK):
            continue
        answer = subprocess.run([candidate, "version"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"go(\d+)\.(\d+)", answer)
        if found and (int(found[1]), int(found[2])) >= GO_AT_LEAST:
            return candidate
    return None


def why_not() -> str | None:
    """The sentence to skip the tier with, or None when the machine can carry it."""
    if find("etcd") is None:
        return (
            "the kubernetes tier needs etcd: install Debian's etcd-server (`tools/setup --kubernetes` does)"
        )
    if all(find(name) for name in BUILT) or go() is not None:
        return None
    return (
        f"the kubernetes tier builds kube-apiserver {VERSION} and needs Go {GO_AT_LEAST[0]}.{GO_AT_LEAST[1]} "
        "or newer (Debian's own is too old): `tools/setup --kubernetes` puts one into .venv; "
        f"or name a directory with {', '.join(BUILT)} and etcd in KUBEBUILDER_ASSETS"
    )


def require(name: str) -> Path:
    """The binary, built first if need be. Raises Unavailable with a sentence."""
    found = find(name)
    if found is None and name in BUILT:
        build()
        found = find(name)
    if found is None:
        raise Unavailable(why_not() or f"{name} is not installed and cannot be built here")
    return found


def go_build(packages: tuple[str, ...], target: Path, *flags: str) -> None:
    """``go build`` in the tier's module; the commands go into the directory ``target``."""
    toolchain = go()
    if toolchain is None:
        raise Unavailable(why_not() or "no Go toolchain")
    # No cgo: the result runs wherever the cache is kept, and no C compiler is needed.
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    environment.setdefault("GOTOOLCHAIN", "local")
    command = [toolchain, "build", "-trimpath", *flags, "-o", f"{target}/", *packages]
    done = subprocess.run(
        command,
        cwd=MODULE,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_BUILD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise Unavailable(f"`{' '.join(command)}` failed: {done.stderr[-2000:]}")


def build() -> None:
    """Builds what is missing. Two that build at once wait for one another."""
    directory = cache()
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [name for name in BUILT if not (directory / name).exists()]
        if not missing:
            return
        began = time.monotonic()
        print(f"building {', '.join(missing)} {VERSION} into {directory} (once)", file=sys.stderr, flush=True)
        scratch = directory / ".building"
        scratch.mkdir(exist_ok=True)
        version = "k8s.io/component-base/version."
        major, minor, _ = VERSION.split(".")
        stamps = {
            "gitVersion": f"v{VERSION}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
        }  # fmt: skip
        flags = "-s -w " + " ".join(f"-X {version}{key}={value}" for key, value in stamps.items())
        go_build(tuple(f"k8s.io/kubernetes/cmd/{name}" for name in missing), scratch, "-ldflags", flags)
        for name in missing:
            os.replace(scratch / name, directory / name)
        print(f"built in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        build()
    except Unavailable as problem:
        sys.exit(str(problem))
    print(cache())
