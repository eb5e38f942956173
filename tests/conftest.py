"""What every test may count on, and which tiers this machine can carry.

Tier 2 (marker ``lab``) needs root and Open vSwitch, tier 3 (``kubernetes``) a real kube-apiserver; the tier
``kernel`` needs user-mode Linux, for Open vSwitch's kernel datapath. Where a tier cannot run, its tests are
skipped with a sentence that says what is missing; in CI that is a failure, because a tier that silently stops
running protects nobody. (The kernel tier is only skipped there, too: whether user-mode Linux runs depends on
the processor.)
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest
from hypothesis import settings

from tests.deploy import image
from tests.kernel import guest
from tests.kubernetes import binaries

# CI tries the same examples each time, so that what it says of a change is about the change; everybody else
# tries new ones, and so finds what nobody thought of.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def why_no_lab() -> str | None:
    """The sentence to skip the lab tier with, or None when the machine can carry it."""
    if os.geteuid() != 0:
        return "the lab tier makes network namespaces and needs root: run `make test` as root"
    for command, package in (
        ("ovs-vswitchd", "openvswitch-switch"),
        ("ovsdb-server", "openvswitch-switch"),
        ("ip", "iproute2"),
    ):
        if shutil.which(command) is None:
            return f"the lab tier needs {command}: install Debian's {package} (`tools/setup` does)"
    return None


# For each tier: the markers of its tests, and why it cannot run here (None: it can).
TIERS: tuple[tuple[tuple[str, ...], Callable[[], str | None]], ...] = (
    (("lab", "soak"), why_no_lab),
    (("kubernetes",), binaries.why_not),
    (("image",), image.why_not),
    (("kernel",), guest.why_not),
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for markers, why_not in TIERS:
        concerned = [item for item in items if any(map(item.get_closest_marker, markers))]
        reason = why_not() if concerned else None
        if reason is None:
            continue
        if os.environ.get("CI") and markers != ("kernel",):
            raise pytest.UsageError(f"{len(concerned)} tests cannot run here: {reason}")
        for item in concerned:
            item.add_marker(pytest.mark.skip(reason=reason))
