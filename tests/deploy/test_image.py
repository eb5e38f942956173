"""The container image: made without a network, and every command of it runs in it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
from pathlib import Path

import pytest

from tests.deploy import image

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]
PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def build(archive: Path) -> None:
    """In a network namespace without a link."""
    command = ["unshare", "--net", sys.executable, str(image.ROOT / "deploy/image/build.py")]
    done = subprocess.run(
        [*command, str(image.PARTS), str(archive)], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "antrea-py.tar"
    build(path)
    return path


@pytest.fixture(scope="module")
def root(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's file system, unpacked as a runtime does it."""
    layout, root = tmp_path_factory.mktemp("layout"), tmp_path_factory.mktemp("root")
    with tarfile.open(archive) as tar:
        tar.extractall(layout, filter="data")
    index = json.loads((layout / "index.json").read_text())

    def blob(digest: str) -> Path:
        return layout / "blobs" / digest.replace(":", "/")

    manifest = json.loads(blob(index["manifests"][0]["digest"]).read_text())
    for layer in manifest["layers"]:
        assert blob(layer["digest"]).stat().st_size == layer["size"]
        with tarfile.open(blob(layer["digest"])) as tar:
            tar.extractall(root, filter="tar")
    return root


def run(root: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = [f"{key}={value}" for key, value in {"PATH": PATH, **environment}.items()]
    return subprocess.run(
        ["unshare", "--mount", "--net", "chroot", str(root), "/usr/bin/env", "-i", *variables, *words],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_it_has_every_command_of_the_project(root: Path) -> None:
    document = tomllib.loads((image.ROOT / "pyproject.toml").read_text())
    commands = {*document["project"]["scripts"], "antrea-cni"}
    assert commands <= {path.name for path in (root / "usr/local/bin").iterdir()}


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (("antrea-controller", "--version"), 0, "antrea-controller v2.7.0"),
        (("antrea-controller", "--config=/nowhere"), 1, "/nowhere cannot be read"),
        (("antrea-agent", "--version"), 0, "antrea-agent v2.7.0"),
        (("antctl", "version"), 1, "antctlVersion: v2.7.0"),
        (("kubectl-antctl", "--help"), 0, "kubectl-antctl"),
        (("antrea-lab", "--help"), 0, "nodes made of network namespaces"),
        (("antrea-cni", "install", "/tmp/plugins"), 0, "/tmp/plugins/antrea"),
        (("install_cni", "--help"), 0, "SKIP_CNI_BINARIES"),
        (("container_liveness_probe", "ovs"), 1, "ovsdb-server does not answer"),
        (("start_ovs", "--help"), 0, "Open vSwitch"),
        (("ip", "-V"), 0, "iproute2"),
        (("nft", "--version"), 0, "nftables"),
        (("ethtool", "--version"), 0, "ethtool"),
        (("modprobe", "--version"), 0, "kmod"),
        (("timeout", "5", "ovs-vsctl", "--version"), 0, "Open vSwitch"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_commands_run(root: Path, words: tuple[str, ...], status: int, expected: str) -> None:
    done = run(root, *words)
    assert (done.returncode, expected in done.stdout + done.stderr) == (status, True), done


def test_the_cni_plugins_are_installed_on_the_host(root: Path) -> None:
    (root / "etc/antrea/antrea-cni.conflist").write_text("{}")
    done = run(root, "install_cni", SKIP_LOADING_KERNEL_MODULES="1")
    assert done.returncode == 0, done.stderr
    plugins = root / "host/opt/cni/bin"
    assert {path.name for path in plugins.iterdir()} == {
        "antrea",
        "antrea.d",
        "loopback",
        "portmap",
        "bandwidth",
    }
    # Outside of the image: what was installed brings its interpreter along.
    done = subprocess.run(
        [str(plugins / "antrea")], input="{}", capture_output=True, text=True, timeout=20,
        env={"CNI_COMMAND": "VERSION", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert "1.0.0" in json.loads(done.stdout)["supportedVersions"]


def test_open_vswitch_runs_in_it(root: Path) -> None:
    # /dev and /proc are the runtime's to provide.
    mounts = f"mount --rbind /dev {root}/dev && mount -t proc proc {root}/proc"
    script = f"{mounts} && exec chroot {root} /usr/bin/env -i PATH={PATH} start_ovs"
    process = subprocess.Popen(
        ["unshare", "--mount", "--net", "--propagation", "private",
         "sh", "-ec", script]
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while run(root, "container_liveness_probe", "ovs").returncode != 0:
            assert process.poll() is None
            assert time.monotonic() < deadline, "Open vSwitch does not answer"
            time.sleep(0.2)
    finally:
        process.send_signal(signal.SIGTERM)  # unshare, sh and chroot have each become the next
        process.wait(15)
    assert run(root, "container_liveness_probe", "ovs").returncode == 1


@pytest.mark.soak
def test_equal_parts_give_an_equal_image(archive: Path, tmp_path: Path) -> None:
    build(tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()
