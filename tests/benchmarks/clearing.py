"""What cleanup and cancel share: a thousand runs, cleared away by the flow, by the client one by one, or in bulk.

The runs' ids are given to the others than the flow: finding them is no part of what these ways cost.
"""

# ruff: noqa: PLC0415

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tests.benchmarks.fleet import FRESH_RUNS, Fresh
from tests.benchmarks.measure import OURS, Job, Meter, Totals, Way, measure

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

# Prefect changes at most this many runs in one request.
AT_ONCE = 50


def clearing_job(
    name: str,
    fresh: Fresh,
    parameters: dict[str, Any],
    clear_one: "Callable[[PrefectClient, UUID], Awaitable[Any]]",
    path: str,
    body: dict[str, Any],
) -> Job:
    """`parameters` are the flow's; `path` and `body` are those of the request that changes many at once."""

    async def in_sequence(client: "PrefectClient", ids: Sequence[str]) -> None:
        for each in ids:
            await clear_one(client, UUID(each))

    async def in_bulk(client: "PrefectClient", ids: Sequence[str]) -> None:
        for start in range(0, len(ids), AT_ONCE):
            chosen = {"flow_runs": {"id": {"any_": ids[start : start + AT_ONCE]}}}
            (await client.request("POST", path, json=body | chosen)).raise_for_status()  # type: ignore[arg-type]

    return Job(
        name,
        (
            Way(OURS, lambda _: measure(partial(_with_flow, fresh, parameters))),
            Way("floor", lambda _: measure(partial(_with_client, fresh, in_bulk))),
            Way("client", lambda _: measure(partial(_with_client, fresh, in_sequence))),
        ),
        lambda _: FRESH_RUNS,
        fresh,
    )


async def _with_flow(fresh: Fresh, parameters: dict[str, Any], meter: Meter) -> Totals:
    """The flow's body as it is deployed, with everything that it writes: report, ledger, progress, events."""
    from prefect.client.orchestration import get_client

    from flows import cleanup

    body = cleanup._cleanup

    async def metered(*arguments: Any) -> Any:
        # What Prefect's engine does before and after takes as long whatever a flow does.
        with meter():
            return await body(*arguments)

    cleanup._cleanup = metered
    async with get_client() as client:
        before = await _waiting(client, fresh)
        await cleanup.cleanup(**parameters, limit={"max_share": 1}, dry_run=False)
        return await _totals(client, fresh, before)


async def _with_client(
    fresh: Fresh, clear: "Callable[[PrefectClient, Sequence[str]], Awaitable[None]]", meter: Meter
) -> Totals:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        before = await _waiting(client, fresh)
        with meter():
            await clear(client, fresh.ids)
        return await _totals(client, fresh, before)


async def _totals(client: "PrefectClient", fresh: Fresh, before: int) -> Totals:
    cancelled = await _count(client, fresh, "CANCELLED")
    return {"before": before, "left": await _waiting(client, fresh), "cancelled": cancelled}


async def _waiting(client: "PrefectClient", fresh: Fresh) -> int:
    return await _count(client, fresh, "COMPLETED", "SCHEDULED")


async def _count(client: "PrefectClient", fresh: Fresh, *types: str) -> int:
    body = {"flow_runs": {"id": {"any_": fresh.ids}, "state": {"type": {"any_": list(types)}}}}
    return int((await client.request("POST", "/flow_runs/count", json=body)).json())  # type: ignore[arg-type]
