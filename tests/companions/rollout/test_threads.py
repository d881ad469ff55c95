"""Blocking work that is cancelled."""

import asyncio
import threading

import pytest

from tlsproxy.companions.rollout.threads import whole


def test_what_it_returns_and_raises_comes_back() -> None:
    """As if it were called."""

    async def act() -> None:
        assert await whole(int, "12", base=8) == 10
        with pytest.raises(ValueError, match="invalid literal"):
            await whole(int, "x")

    asyncio.run(act(), debug=True)


def test_who_is_cancelled_is_so_after_it() -> None:
    """However often."""

    async def act() -> None:
        began, may_end = threading.Event(), threading.Event()

        def work() -> None:
            began.set()
            may_end.wait(5)

        task = asyncio.create_task(whole(work))
        await asyncio.to_thread(began.wait, 5)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(act(), debug=True)
