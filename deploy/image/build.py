#!/usr/bin/env python3
"""Makes the container image: an OCI archive, from files alone, without network and container runtime.

    python deploy/image/build.py DIR ARCHIVE [--name antrea-py:latest]

DIR is what deploy/image/fetch.py has fetched. Three layers: Debian's packages, the Python packages that the
project needs, the project. The maintainer scripts of Debian's packages are not run; what the programs in the
image need of them is done here. Equal input gives an equal archive.
"""

from __future__ import annotations

import argparse
import compileall
import configparser
import os
import py_compile
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

sys.path.insert(0, str(Path(__file__).resolve().parent))
import oci

PROJECT = Path(__file__).resolve().parents[2]
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "1767225600"))  # 2026-01-01: no file tells when it was built
SITE = PurePosixPath("usr/local/lib/python3.11/dist-packages")  # Debian's Python looks here
MERGED = ("bin", "sbin", "lib", "lib64")  # links into usr/ on Debian 12
LEFT_OUT = ("usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/info/", "usr/share/lintian/")
LINKS = {
    # Debian makes these when it configures the packages.
    "usr/sbin/ovs-vswitchd": "../lib/openvswitch-switch/ovs-vswitchd",
    "usr/bin/awk": "mawk",
    "usr/local/bin/python3": "../../bin/python3",  # antrea-cni starts the interpreter that lies beside it
    "var/run": "/run",
}
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
FOLDERS = (
    "run",
    "tmp",
    "root",
    "proc",
    "sys",
    "dev",
    "etc/antrea",
    "host",
    "var/log/antrea",
    "var/log/openvswitch",
)


class BuildError(Exception):
    """The image is not made; the text says what is missing."""


def _merged(name: str) -> str:
    """A path of a package as it is on a file system where /bin is /usr/bin."""
    path = name.removeprefix("./").strip("/")
    first, _, rest = path.partition("/")
    return f"usr/{path}" if first in MERGED and rest else path


def _folder(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
    return info


def _link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


def _file(name: str, content: bytes, mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    return info, content


def debian(packages: list[Path]) -> dict[str, tuple[tarfile.TarInfo, bytes | None]]:
    """Every file of the packages by its path. Raises BuildError."""
    found: dict[str, tuple[tarfile.TarInfo, bytes | None]] = {
        name: (_link(name, f"usr/{name}"), None) for name in MERGED
    }
    for package in packages:
        done = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], capture_output=True, check=False)
        if done.returncode != 0:
            raise BuildError(f"{package} is no Debian package: {done.stderr.decode().strip()}")
        with tempfile.TemporaryFile() as file:
            file.write(done.stdout)
            file.seek(0)
            with tarfile.open(fileobj=file) as tar:
                for info in tar:
                    name = _merged(info.name)
                    if not name or name in MERGED or f"{name}/".startswith(LEFT_OUT):
                        continue
                    if name in found and info.isdir():
                        continue
                    content = tar.extractfile(info).read() if info.isreg() else None  # type: ignore[union-attr]
                    info.name = name
                    if info.islnk():
                        info.linkname = _merged(info.linkname)
                    info.uname = info.gname = ""
                    found[name] = (info, content)
    for name, target in LINKS.items():
        found.setdefault(name, (_link(name, target), None))
    for name, text in FILES.items():
        found[name] = _file(name, text.encode())
    for name in FOLDERS:
        found.setdefault(name, (_folder(name), None))
    return found


def project_wheel(wheels: Path, target: Path) -> Path:
    """The project's own wheel, built with what is in ``wheels``. Raises BuildError."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "source")
        ignore = shutil.ignore_patterns(
            ".*", "*.egg-info", "build", "dist", "tests", "benchmarks", "__pycache__"
        )
        shutil.copytree(PROJECT, source, ignore=ignore)  # a build writes into its sources
        done = subprocess.run(
            [
                sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-index",
                "--find-links", str(wheels), "--disable-pip-version-check", "--wheel-dir", str(target),
                str(source),
            ],
            capture_output=True, text=True, check=False, env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)},
        )  # fmt: skip
    if done.returncode != 0:
        raise BuildError(f"the project's wheel cannot be built: {done.stderr.strip()[-2000:]}")
    (wheel,) = target.glob("antrea_py-*.whl")
    return wheel


def unpack(wheels: list[Path], root: Path) -> None:
    """Wheels into ``root``: modules below SITE, compiled, and their commands as scripts in usr/local/bin."""
    site, scripts = root / SITE, root / "usr/local/bin"
    site.mkdir(parents=True)
    scripts.mkdir(parents=True)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)  # noqa: S202 - zipfile keeps members below the target
        for data in site.glob("*.data"):
            for kind, place in (("scripts", scripts), ("purelib", site), ("platlib", site)):
                if (data / kind).is_dir():
                    shutil.copytree(data / kind, place, dirs_exist_ok=True)
            shutil.rmtree(data)
    for script in scripts.iterdir():
        text = script.read_bytes()
        if text.startswith(b"#!python"):
            script.write_bytes(b"#!/usr/bin/python3" + text[len(b"#!python") :])
        script.chmod(0o755)
    for entry_points in site.glob("*.dist-info/entry_points.txt"):
        parser = configparser.ConfigParser(delimiters=("=",))
        parser.optionxform = str  # type: ignore[assignment]
        parser.read(entry_points)
        for name, target in parser["console_scripts"].items() if "console_scripts" in parser else ():
            module, _, function = target.partition(":")
            (scripts / name).write_text(
                f"#!/usr/bin/python3\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
            )
            (scripts / name).chmod(0o755)
    compileall.compile_dir(
        site, quiet=2, workers=0, stripdir=str(root), prependdir="/",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,  # no times in an image that has none
    )  # fmt: skip


def tree(root: Path) -> Iterator[tuple[tarfile.TarInfo, bytes | None]]:
    """The files below a directory, sorted, owned by root."""
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_dir():
            yield _folder(name), None
        else:
            yield _file(name, path.read_bytes(), 0o755 if os.access(path, os.X_OK) else 0o644)


def build(directory: Path, archive: Path, name: str) -> None:
    """Raises BuildError and OSError."""
    packages, wheels = sorted(directory.glob("*.deb")), sorted(directory.glob("*.whl"))
    if not packages or not wheels:
        raise BuildError(
            f"{directory} has no .deb or no .whl files: run deploy/image/fetch.py {directory} first"
        )
    if sys.version_info[:2] != (3, 11):
        raise BuildError(
            f"the image has Python 3.11 and is compiled with it; this is {sys.version.split()[0]}"
        )
    files = debian(packages)
    members = [files[key] for key in sorted(files)]
    layers = [oci.Layer.of(members, "Debian packages", EPOCH)]
    building = ("setuptools-", "wheel-", "packaging-")  # of the wheel, not of the image
    needed = [wheel for wheel in wheels if not wheel.name.startswith(building)]
    with tempfile.TemporaryDirectory() as scratch:
        own = project_wheel(directory, Path(scratch))
        for about, content in (("Python packages", needed), ("antrea-py", [own])):
            root = Path(scratch, about.replace(" ", "-"))
            unpack(content, root)
            layers.append(oci.Layer.of(tree(root), about, EPOCH))
    config = {
        "Env": ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONDONTWRITEBYTECODE=1"],
        "Cmd": ["antrea-agent", "--help"],
        "Labels": {
            "org.opencontainers.image.title": "antrea-py",
            "org.opencontainers.image.licenses": "Apache-2.0",
        },
    }
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    )
    oci.Image(name, architecture.stdout.strip(), EPOCH, layers, config).write(str(archive))


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the container image as an OCI archive.")
    parser.add_argument(
        "directory", type=Path, help="the .deb and .whl files that deploy/image/fetch.py fetched"
    )
    parser.add_argument("archive", type=Path, help="the file to write")
    parser.add_argument("--name", default="antrea-py:latest", help="the image's name and tag")
    options = parser.parse_args()
    try:
        build(options.directory, options.archive, options.name)
    except (BuildError, OSError) as error:
        sys.exit(f"build: {error}")
    print(
        f"{options.archive}: {options.archive.stat().st_size / 1e6:.0f} MB, {options.name}", file=sys.stderr
    )


if __name__ == "__main__":
    main()
