"""Locks by key: one after another under one key, side by side under different ones, and none left over."""

from __future__ import annotations

import asyncio

import pytest

from agent.cni.locks import KeyedLocks


async def test_one_after_another_and_side_by_side() -> None:
    locks, running, most = KeyedLocks(), dict.fromkeys("ab", 0), 0

    async def work(key: str) -> None:
        nonlocal most
        async with locks.hold(key):
            running[key] += 1
            assert running[key] == 1
            most = max(most, sum(running.values()))
            await asyncio.sleep(0)
            running[key] -= 1

    await asyncio.gather(*(work(key) for key in "aabbaabb"))
    assert most == 2
    assert len(locks) == 0


async def test_errors_and_cancelled_waiters_leave_nothing() -> None:
    locks = KeyedLocks()
    with pytest.raises(RuntimeError):
        async with locks.hold("a"):
            waiting = asyncio.create_task(hold(locks))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert len(locks) == 1
            raise RuntimeError
    assert len(locks) == 0


async def hold(locks: KeyedLocks) -> None:
    async with locks.hold("a"):
        pass
