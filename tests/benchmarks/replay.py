"""The floor: Poolkeeper's requests, noted down and sent again by bare httpx, eight at once.

It knows beforehand what to ask, so that no page waits for the one before, and does not even unpack the answers: nobody
gets them faster. It is not a floor for somebody who needs other requests.
"""

# ruff: noqa: PLC0415

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.measure import Measurement, Meter, Setting, Totals, Way, measure

if TYPE_CHECKING:
    import httpx

    from flows.prefect_api import Api

AT_ONCE = 8
# Eight pages of deployments at once keep a server busy for longer than httpx waits by itself.
TIMEOUT_SECONDS = 300


@asynccontextmanager
async def connect_at_the_fill(setting: Setting, job: str) -> "AsyncIterator[Api]":
    """Poolkeeper's connection, whose requests are noted down, and for which it is still the time of the fill.

    So every way and every round looks at the same runs, however long the others took.
    """
    from flows.prefect_api import connect

    requests: list[Any] = []
    async with connect() as api:
        send, server_time = api._send, api.server_time

        async def noted(method: Any, path: str, body: dict[str, Any] | None) -> "httpx.Response":
            requests.append((method, path, body))
            return await send(method, path, body)

        async def time_of_the_fill() -> datetime:
            await server_time()
            return setting.filled_at

        api._send, api.server_time = noted, time_of_the_fill  # type: ignore[method-assign]
        yield api
    _notes(setting, job).write_text(json.dumps(requests))


def floor(job: str) -> Way:
    def measure_floor(setting: Setting) -> Measurement:
        return measure(lambda meter: _send_again(setting, job, meter), above="httpx", note="memory above import httpx")

    return Way("floor", measure_floor)


async def _send_again(setting: Setting, job: str, meter: Meter) -> Totals:
    import httpx

    left = iter(json.loads(_notes(setting, job).read_text()))

    async def send_the_next(client: httpx.AsyncClient) -> None:
        for method, path, body in left:
            async with client.stream(method, path, json=body) as answer:
                if answer.is_server_error:
                    # What is not there was not there for Poolkeeper either.
                    answer.raise_for_status()
                async for _ in answer.aiter_raw():
                    pass

    async with httpx.AsyncClient(base_url=os.environ["PREFECT_API_URL"], timeout=TIMEOUT_SECONDS) as client:
        with meter():
            await asyncio.gather(*(send_the_next(client) for _ in range(AT_ONCE)))
    return {}


def _notes(setting: Setting, job: str) -> Path:
    return Path(setting.directory) / f"{job}.json"
