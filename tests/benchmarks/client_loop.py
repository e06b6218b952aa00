"""What a plain loop over Prefect's own client does, one request after the other."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

PAGE = 200

Found = TypeVar("Found")


async def read_pages(read: Callable[..., Awaitable[list[Found]]], **question: object) -> list[Found]:
    found: list[Found] = []
    while True:
        page = await read(**question, limit=PAGE, offset=len(found))
        found += page
        if len(page) < PAGE:
            return found
