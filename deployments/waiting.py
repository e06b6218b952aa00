"""Waiting for something that somebody else brings about."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Answer = TypeVar("Answer")


async def until(ask: Callable[[], Awaitable[Answer]], *, seconds: float, every: float = 0.25) -> Answer:
    """Ask until the answer is true, or time is up: the last answer."""
    deadline = asyncio.get_running_loop().time() + seconds
    # Nobody tells: the answer is on a server.
    while not (answer := await ask()) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(every)
    return answer
