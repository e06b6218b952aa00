"""Which work pools are failing, by the runs that ended in the last hour and in the last day.

A sweep decides and writes its report's text, but changes nothing.
"""

# ruff: noqa: PLC0415

import asyncio
from datetime import timedelta
from functools import partial

from tests.benchmarks.measure import OURS, Job, Meter, Setting, Totals, Way, measure
from tests.benchmarks.replay import connect_at_the_fill, floor


async def _sweep(job: str, window_minutes: int, setting: Setting, meter: Meter) -> Totals:
    from flows.policy.auto_pause import decide_circuits
    from flows.policy.failure_threshold import FailureThreshold
    from flows.policy.plan import ActionLimit, Kind, Verb
    from flows.policy.recovery import Recovery
    from flows.prefect_api.auto_pause import Settings, observe_circuits, open_question
    from flows.report.auto_pause import AutoPause, auto_pause_report

    threshold = FailureThreshold(window_minutes=window_minutes)
    settings = Settings(threshold, Recovery(), ActionLimit(max_share=1), dry_run=True)
    async with connect_at_the_fill(setting, job) as api:
        with meter("observe"):
            asked = await open_question(api, ["*"], [], settings)
            facts = await observe_circuits(api, asked)
        with meter("decide"):
            decision = decide_circuits(facts, asked.rules, settings.limit)
        with meter("report"):
            auto_pause_report(AutoPause(facts, decision, asked.rules, True, (), "pool-auto-pause"), [])
    paused = [each for each in decision.plan.actions if each.verb is Verb.PAUSE and each.target.kind is Kind.POOL]
    return {"pools": len(asked.every_pool), "paused": len(paused)}


async def _two_counts(window_minutes: int, setting: Setting, meter: Meter) -> Totals:
    """What anyone would write: of each pool, how many runs ended and how many of them failed, eight at a time."""
    from flows.policy.failure_threshold import FailureThreshold
    from flows.prefect_api import connect
    from flows.prefect_api.flow_runs import FAILED, FINISHED, count_runs, ended
    from flows.prefect_api.work_pools import read_pools

    threshold = FailureThreshold(window_minutes=window_minutes)
    since = setting.filled_at - timedelta(minutes=window_minutes)
    async with connect() as api:

        async def is_failing(pool: str) -> bool:
            finished, failed = await asyncio.gather(
                count_runs(api, ended(FINISHED, since), [pool]), count_runs(api, ended(FAILED, since), [pool])
            )
            return threshold.judge(finished=finished, failed=failed).is_failing

        with meter():
            pools = await read_pools(api)
            failing = await asyncio.gather(*(is_failing(pool.name) for pool in pools if not pool.is_paused))
    return {"pools": len(pools), "paused": sum(failing)}


def _job(name: str, window_minutes: int) -> Job:
    return Job(
        name,
        (
            Way(OURS, lambda setting: measure(partial(_sweep, name, window_minutes, setting))),
            floor(name),
            Way("two counts", lambda setting: measure(partial(_two_counts, window_minutes, setting))),
        ),
        lambda size: size.ended_within(hours=window_minutes / 60),
    )


HOUR = _job("auto-pause, an hour", 60)
DAY = _job("auto-pause, a day", 1440)
