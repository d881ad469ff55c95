"""Blocking work beside the loop, that is never left half done."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


async def whole(work: Callable[_Arguments, _Result], *args: _Arguments.args, **how: _Arguments.kwargs) -> _Result:
    """Do blocking work in a thread, and all of it: who is cancelled meanwhile is so after it.

    A thread can't be stopped, and what takes the caller's lock next must not meet it at work.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **how))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        raise
