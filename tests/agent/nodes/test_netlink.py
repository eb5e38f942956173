"""Paths that are said to be network namespaces."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.nodes.netlink import Netlink, NetworkNamespaceGone, open_namespace


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/tmp", "/proc/none/ns/net", "/etc/passwd/x"])
def test_what_is_no_namespace_is_said_to_be_none(path: str) -> None:
    with pytest.raises(NetworkNamespaceGone, match="network namespace"):
        open_namespace(path)


async def test_a_pipe_holds_nobody_up(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    netlink = Netlink(timeout=5)
    try:
        with pytest.raises(NetworkNamespaceGone):
            await netlink.run(lambda ipr: None, str(pipe))
        assert await netlink.run(lambda ipr: "next") == "next"
    finally:
        netlink.close()


def test_a_namespace_is_opened() -> None:
    os.close(open_namespace("/proc/self/ns/net"))
