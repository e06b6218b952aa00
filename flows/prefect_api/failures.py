"""Which runs failed, and how many ended, by pool and deployment: the evidence for and against pausing something.

Failed runs are few and are read; the good ones are only counted, and only where it matters.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flows.policy.failure_threshold import FailureThreshold, Tally
from flows.prefect_api.client import Api, decode, instant
from flows.prefect_api.flow_runs import (
    COUNTS_PER_PAGE,
    Filter,
    count_runs,
    ended,
    of_deployment,
    read_run_rows,
    read_runs_as,
)
from flows.prefect_api.paging import PAGE, Row

COMPLETED = ("COMPLETED",)
# Runs that crashed before they started are few; so many of them are looked at one by one.
NEVER_STARTED_SEEN = 20


@dataclass(frozen=True, slots=True)
class FailedRun:
    """A run that failed, timed out or crashed."""

    pool: str
    deployment_id: str | None
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed runs by pool. `uncounted` are pools with too few of them to have been read, and how many they had."""

    runs: Mapping[str, tuple[FailedRun, ...]]
    uncounted: Mapping[str, int]

    def count(self, pool: str) -> int:
        return len(self.runs.get(pool, ())) or self.uncounted.get(pool, 0)


@dataclass(frozen=True, slots=True)
class Since:
    """From when on runs of a pool count, and of those of its deployments that count from later on, or not at all."""

    pool: datetime
    deployments: Mapping[str, datetime | None]

    def of(self, deployment_id: str | None) -> datetime | None:
        own = self.deployments.get(deployment_id or "", self.pool)
        return own if own is None else max(own, self.pool)


def failed_states(threshold: FailureThreshold) -> tuple[str, ...]:
    """Timed-out runs are of the type Failed."""
    return ("FAILED", "CRASHED") if threshold.count_crashed else ("FAILED",)


async def read_failures(api: Api, threshold: FailureThreshold, since: datetime, pools: Sequence[str]) -> Failures:
    """The runs that failed since then, of all pools; counted by pool first where that leaves less to read."""
    failed = ended(failed_states(threshold), since)
    pages = -(-await count_runs(api, failed) // PAGE)
    uncounted: dict[str, int] = {}
    asked: Sequence[str] | None = None
    if pages > 1 and pages * COUNTS_PER_PAGE > len(pools):
        counts = await asyncio.gather(*(count_runs(api, failed, [pool]) for pool in pools))
        by_pool = dict(zip(pools, counts, strict=True))
        asked = [pool for pool, count in by_pool.items() if count >= threshold.fewest_failures]
        uncounted = {pool: count for pool, count in by_pool.items() if pool not in asked}
    read = await read_runs_as(_failed_runs, api, failed, asked) if pages and asked != [] else []
    found: dict[str, list[FailedRun]] = {}
    for run in filter(None, read):
        found.setdefault(run.pool, []).append(run)
    return Failures({pool: tuple(runs) for pool, runs in found.items()}, uncounted)


async def tally_pool(api: Api, pool: str, failed: Iterable[FailedRun], since: Since) -> Tally:
    """All runs of the pool that count."""
    bad = sum(_counts(run, since) for run in failed)
    good, *apart = await asyncio.gather(
        count_runs(api, ended(COMPLETED, since.pool), [pool]),
        *(_left_out(api, pool, deployment, since) for deployment in since.deployments),
    )
    return Tally(max(0, good - sum(apart)) + bad, bad)


async def tally_deployments(
    api: Api, failed: Iterable[FailedRun], since: Since, threshold: FailureThreshold
) -> dict[str, Tally]:
    """The deployments of a pool with enough failed runs to be failing, by id."""
    bad = Counter(run.deployment_id for run in failed if run.deployment_id and _counts(run, since))
    suspects = {each: count for each, count in bad.items() if count >= threshold.fewest_failures}

    async def completed(deployment: str) -> int:
        at = since.of(deployment)
        return 0 if at is None else await count_runs(api, ended(COMPLETED, at) | of_deployment(deployment))

    good = await asyncio.gather(*map(completed, suspects))
    return {each: Tally(own + bad[each], bad[each]) for each, own in zip(suspects, good, strict=True)}


async def tally_probes(api: Api, runs: Filter, pool: str, since: datetime, threshold: FailureThreshold) -> Tally:
    """The runs that both started and ended since then. What was running before does not count."""
    started = runs | {"start_time": {"after_": since.isoformat()}}
    failed = failed_states(threshold)
    good, bad, unstarted = await asyncio.gather(
        count_runs(api, ended(COMPLETED, since) | started, [pool]),
        count_runs(api, ended(failed, since) | started, [pool]),
        _never_started(api, ended(failed, since) | runs | {"start_time": {"is_null_": True}}, pool, since),
    )
    return Tally(good + bad + unstarted, bad + unstarted)


async def _never_started(api: Api, runs: Filter, pool: str, since: datetime) -> int:
    """Runs that failed before they started, of those that a worker claimed since then."""
    rows = await read_run_rows(api, runs, [pool]) if await count_runs(api, runs, [pool]) else []

    async def was_claimed_since(row: Row) -> bool:
        states = await api.read(f"/flow_run_states/?flow_run_id={row['id']}")
        claims = [instant(state["timestamp"]) for state in states if state["type"] == "PENDING"]
        return all(at is not None and at >= since for at in claims)

    return sum(await asyncio.gather(*map(was_claimed_since, rows[:NEVER_STARTED_SEEN])))


async def _left_out(api: Api, pool: str, deployment: str, since: Since) -> int:
    """Good runs of a deployment that are among those of its pool, but do not count."""
    own = since.of(deployment)
    if own == since.pool:
        return 0
    runs = of_deployment(deployment)
    every = await count_runs(api, ended(COMPLETED, since.pool) | runs, [pool])
    return every - (0 if own is None else await count_runs(api, ended(COMPLETED, own) | runs, [pool]))


def _counts(run: FailedRun, since: Since) -> bool:
    at = since.of(run.deployment_id)
    return at is not None and run.ended_at >= at


def _failed_runs(page: list[Row]) -> list[FailedRun | None]:
    return decode(page, "flow run", _failed_run)


def _failed_run(row: Row) -> FailedRun | None:
    """None where it belongs to no work pool."""
    pool = row.get("work_pool_name")
    return FailedRun(pool, row.get("deployment_id"), datetime.fromisoformat(row["end_time"])) if pool else None
