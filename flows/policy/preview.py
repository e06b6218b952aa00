"""What becomes of every upcoming run: the runs there are, the pools they go to, and what those pools will do."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from flows.policy.demand import PoolDemand
from flows.policy.durations import Duration, estimate
from flows.policy.fleet import PoolState
from flows.policy.forecast import Expectation, Standing, expect, standing_of
from flows.policy.foreseen import PoolPreview, Preview, Question
from flows.policy.plan import Kind, Plan, Target, Verb, Verdict
from flows.policy.sizing import recommend, spans
from flows.policy.slots import Limits, simulate
from flows.policy.upcoming import UpcomingFacts, UpcomingRun, upcoming_runs

# A preview lists this many runs; it counts those that are due after them.
RUNS_LISTED = 100_000
NO_LIMITS = Limits()
NO_POOL = "its deployment has no work pool: nobody can start it"
POOL_NOT_READ = "its work pool was made or deleted while this was read"


def foresee(facts: UpcomingFacts, question: Question) -> Preview:
    """What is to be expected of every run that is due up to so many hours from now."""
    runs, unlisted = upcoming_runs(facts, most=RUNS_LISTED)
    by_pool: dict[str | None, list[UpcomingRun]] = {}
    for run in runs:
        by_pool.setdefault(run.pool, []).append(run)
    durations = {key: known for key, past in facts.past.items() if (known := estimate(past))}
    pools = tuple(
        _of_pool(state, by_pool.pop(state.pool.name, []), durations, facts, question) for state in facts.pools
    )
    homeless = tuple(
        Expectation(run, standing_of(run, facts.now, Standing.BLOCKED), NO_POOL if pool is None else POOL_NOT_READ)
        for pool, rest in by_pool.items()
        for run in rest
    )
    return Preview(facts, question, pools, homeless, unlisted)


def _of_pool(
    state: PoolState,
    runs: list[UpcomingRun],
    durations: Mapping[str, Duration],
    facts: UpcomingFacts,
    question: Question,
) -> PoolPreview:
    own = {run.deployment_id or "" for run in runs} | {run.deployment_id or "" for run in state.active}
    as_it_is = asked = PoolDemand(
        state,
        runs,
        deployments={key: facts.deployments[key] for key in own if key in facts.deployments},
        durations={key: durations[key] for key in own if key in durations},
        now=facts.now,
    )
    if question.what_if_limit is not None:
        pool = replace(state.pool, concurrency_limit=question.what_if_limit)
        asked = replace(as_it_is, state=replace(state, pool=pool))
    expectations = expect(asked)
    wants, held = asked.wants(runs), asked.held()
    return PoolPreview(
        demand=asked,
        expectations=expectations,
        spans=tuple(spans(wants, held, simulate(wants, held, NO_LIMITS))),
        longest_wait=_longest(expectations, facts.now),
        longest_wait_as_it_is=_longest(expectations if asked is as_it_is else expect(as_it_is), facts.now),
        sizing=recommend(as_it_is, question.acceptable_wait),
    )


def _longest(expectations: tuple[Expectation, ...], now: datetime) -> timedelta:
    waits = (
        each.expected_start_at - max(each.run.due_at, now)
        for each in expectations
        if each.expected_start_at is not None and each.standing is Standing.WILL_WAIT
    )
    return max(waits, default=timedelta())


def decide_preview(preview: Preview) -> Plan:
    """The preview's plan: every pool is left as it is, with what is to be expected of it as the reason."""

    def verdict(pool: PoolPreview) -> Verdict:
        counts = Counter(each.standing for each in pool.expectations)
        return Verdict(
            target=Target(Kind.POOL, pool.state.pool.name, pool.state.pool.id, pool=pool.state.pool.name),
            verb=Verb.LEAVE,
            reason=", ".join(f"{counts[each]} {each}" for each in Standing if counts[each]) or "nothing is due",
            numbers={each.value: counts[each] for each in Standing},
        )

    return Plan(job="pool-preview", verdicts=tuple(map(verdict, preview.pools)))
