"""What the first container of an agent's Pod puts on the host."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CONFLIST = ROOT / "deploy/base/config/antrea-cni.conflist"


def install(host: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "agent.container.install_cni", "--host", str(host), "--conflist", str(CONFLIST),
        "--run-dir", str(host / "run"), "--plugins", str(host / "plugins"),
    ]  # fmt: skip
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60,
        env={**os.environ, "SKIP_LOADING_KERNEL_MODULES": "1", **environment},
    )  # fmt: skip


@pytest.fixture
def host(tmp_path: Path) -> Path:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    for name in ("loopback", "portmap", "bandwidth"):
        (plugins / name).write_text(name)
    return tmp_path


def test_plugins_and_configuration_are_installed(host: Path) -> None:
    older = host / "etc/cni/net.d/10-antrea.conf"
    older.parent.mkdir(parents=True)
    older.write_text("{}")

    for _ in range(2):  # a Pod that is replaced installs again
        done = install(host, CONFIG_FILE_MODE="600")
        assert done.returncode == 0, done.stderr

    binaries = host / "opt/cni/bin"
    assert {path.name for path in binaries.iterdir()} == {
        "antrea", "antrea.d", "loopback", "portmap", "bandwidth",
    }  # fmt: skip
    assert (binaries / "portmap").stat().st_mode & 0o777 == 0o755
    configuration = host / "etc/cni/net.d/10-antrea.conflist"
    assert [p.name for p in configuration.parent.iterdir()] == [configuration.name]
    assert configuration.stat().st_mode & 0o777 == 0o600
    assert [plugin["type"] for plugin in json.loads(configuration.read_text())["plugins"]] == [
        "antrea", "portmap", "bandwidth",
    ]  # fmt: skip
    assert (host / "run").stat().st_mode & 0o777 == 0o750


def test_what_the_host_has_itself_is_left_out(host: Path) -> None:
    shutil.rmtree(host / "plugins")
    refused = install(host)
    assert refused.returncode == 1
    assert "SKIP_CNI_BINARIES" in refused.stderr
    assert not (host / "etc/cni/net.d/10-antrea.conflist").exists()

    assert install(host, SKIP_CNI_BINARIES="loopback, portmap,bandwidth").returncode == 0
    assert {path.name for path in (host / "opt/cni/bin").iterdir()} == {"antrea", "antrea.d"}


def test_the_plugin_runs_where_there_is_no_python(host: Path) -> None:
    assert install(host).returncode == 0
    request = {**os.environ, "CNI_COMMAND": "VERSION"}
    plugin = [str(host / "opt/cni/bin/antrea")]
    if os.geteuid() == 0:  # hide every interpreter and its library, for this command only
        hidden = {str(Path(os.path.realpath(sys.executable)).parents[1]), "/usr/lib/python3.11", sys.prefix}
        mounts = " && ".join(f"mount -t tmpfs none {path}" for path in sorted(hidden) if Path(path).is_dir())
        if "/usr" not in hidden:
            plugin = ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$0"', *plugin]
    done = subprocess.run(plugin, input="{}", env=request, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    assert "1.0.0" in json.loads(done.stdout)["supportedVersions"]


def test_a_file_mode_that_is_none_is_refused(host: Path) -> None:
    done = install(host, CONFIG_FILE_MODE="rw")
    assert done.returncode == 1
    assert done.stderr.startswith("install_cni: ")
