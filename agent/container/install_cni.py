"""install_cni: the plugin and its configuration onto the host, the kernel's module, the run directory.

It runs in the Pod's first container, with the host's directories mounted below /host. The configuration goes
last: when it is there, the container runtime takes the node's network for ready.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click

import agent.cni
from agent.container import bundle

PLUGIN = "antrea"
BUNDLE = "antrea.d"
CONFLIST = "10-antrea.conflist"
OLDER = ("10-antrea.conf",)
OTHERS = ("loopback", "portmap", "bandwidth")
RUN_MODE = 0o750

# The plugin's second line as a shell reads it: the interpreter beside the plugin, whatever the directory.
_START = (
    f'"${{0%/*}}/{BUNDLE}/{bundle.LOADER}" "--library-path" "${{0%/*}}/{BUNDLE}/lib" '
    f'"${{0%/*}}/{BUNDLE}/bin/python3"'
)


class InstallError(Exception):
    """Something is not installed; the text says what and why."""


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Write a file that is complete at every moment."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(content)
    aside.chmod(mode)
    os.replace(aside, path)


def plugin_source() -> bytes:
    """antrea-cni as an executable that starts the bundled interpreter."""
    source = (Path(agent.cni.__file__).parent / "bin" / "antrea-cni").read_text(encoding="utf-8")
    first, second, rest = source.split("\n", 2)
    started = second.replace('"${0%/*}/python3"', _START)
    if started == second:
        raise InstallError(
            "the plugin does not begin as this command expects: the two are of different versions"
        )
    return "\n".join((first, started, rest)).encode()


def install_plugin(directory: Path) -> None:
    """Raises bundle.BundleError and OSError."""
    bundle.write(directory / BUNDLE)
    _replace(directory / PLUGIN, plugin_source(), 0o755)


def install_others(source: Path, directory: Path, skip: set[str]) -> None:
    """Plugins of the CNI project that the configuration names. Raises InstallError."""
    for name in OTHERS:
        if name in skip:
            continue
        if not (source / name).exists():
            raise InstallError(
                f"{source / name} is missing: install containernetworking-plugins, or name {name} in "
                "SKIP_CNI_BINARIES where the host has it"
            )
        _replace(directory / name, (source / name).read_bytes(), 0o755)


def load_module(name: str) -> str | None:
    """Load a kernel module unless it is there; why it cannot be, or None."""
    if Path("/sys/module", name).exists():
        return None
    modprobe = shutil.which("modprobe") or shutil.which("modprobe", path="/usr/sbin:/sbin")
    if modprobe is None:
        return "modprobe is not installed (package kmod)"
    done = subprocess.run([modprobe, name], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr.strip() or f"modprobe ended with {done.returncode}"


@click.command("install_cni", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--host", default="/host", show_default=True, help="where the host's directories are mounted")
@click.option("--conflist", default="/etc/antrea/antrea-cni.conflist", show_default=True)
@click.option("--plugins", default="/usr/lib/cni", show_default=True, help="loopback, portmap and bandwidth")
@click.option("--run-dir", default="/var/run/antrea", show_default=True)
def command(host: str, conflist: str, plugins: str, run_dir: str) -> int:
    """Install the CNI plugin of Antrea and its configuration on this node.

    Environment: SKIP_CNI_BINARIES names plugins that the host has itself (loopback, portmap, bandwidth);
    CONFIG_FILE_MODE is the mode of the configuration (644); SKIP_LOADING_KERNEL_MODULES=1 leaves the kernel
    alone, for the userspace datapath.
    """
    try:
        _install(Path(host), Path(conflist), Path(plugins), Path(run_dir))
    except (InstallError, bundle.BundleError, OSError, ValueError) as error:
        click.echo(f"install_cni: {error}", err=True)
        return 1
    return 0


def _install(host: Path, conflist: Path, plugins: Path, run_dir: Path) -> None:
    skip = set(os.environ.get("SKIP_CNI_BINARIES", "").replace(",", " ").split())
    mode = int(os.environ.get("CONFIG_FILE_MODE") or "644", 8)
    wanted = os.environ.get("SKIP_LOADING_KERNEL_MODULES") not in ("1", "true")
    if wanted and (problem := load_module("openvswitch")) is not None:
        raise InstallError(
            f"the kernel module openvswitch cannot be loaded: {problem}. On a kernel without it set "
            "ovsDatapathType: netdev and SKIP_LOADING_KERNEL_MODULES=1"
        )
    binaries, configurations = host / "opt/cni/bin", host / "etc/cni/net.d"
    binaries.mkdir(parents=True, exist_ok=True)
    configurations.mkdir(parents=True, exist_ok=True)
    install_others(plugins, binaries, skip)
    install_plugin(binaries)
    run_dir.mkdir(parents=True, exist_ok=True)
    run_dir.chmod(RUN_MODE)
    _replace(configurations / CONFLIST, conflist.read_bytes(), mode)
    for name in OLDER:
        (configurations / name).unlink(missing_ok=True)
    click.echo(f"installed {binaries / PLUGIN} and {configurations / CONFLIST}")


def main() -> None:
    sys.exit(command(standalone_mode=False) or 0)


if __name__ == "__main__":
    main()
