"""A plan carried out: shown first, refused whole, or walked once with every outcome reported."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from prefect import flow
from prefect.client.schemas.objects import State

from flows.apply import Acting, apply, conclude
from flows.policy.plan import ActionLimit, Kind, Outcome, Plan, Result, Target, Verb, Verdict
from flows.policy.protection import Protection
from flows.prefect_api import ApiProblem, NotFound, connect
from flows.report import Report
from flows.report.plan import balance, plan_rows
from tests.rest import Rest, unique, wait_for

pytestmark = pytest.mark.anyio


class Pools:
    """Pretends to change pools: `behaviour` says for some what happens instead of success."""

    def __init__(self, **behaviour: Any) -> None:
        self.changed: list[str] = []
        self._behaviour = behaviour

    async def act(self, verdicts: Sequence[Verdict]) -> Sequence[Outcome]:
        (verdict,) = verdicts
        name = verdict.target.name
        happens = self._behaviour.get(name, Result.DONE)
        if isinstance(happens, Exception):
            raise happens
        if happens is Result.DONE:
            self.changed.append(name)
        return [Outcome(verdict, happens)]


def plan_of(*names: str, left: Sequence[str] = ()) -> Plan:
    def verdict(name: str, verb: Verb) -> Verdict:
        return Verdict(Target(Kind.POOL, name, f"id-{name}", pool=name), verb, f"{verb} {name}", {"failed": 3})

    return Plan("test-job", tuple(verdict(each, Verb.PAUSE) for each in names) + tuple(
        verdict(each, Verb.LEAVE) for each in left
    ))  # fmt: skip


async def carry_out(key: str, plan: Plan, pools: Pools, **changed: Any) -> State[Any]:
    limit, population = changed.pop("limit", ActionLimit()), changed.pop("population", {Kind.POOL: 4})
    acting = {
        "act": pools.act,
        "check": lambda: limit.check(plan, population),
        "protection": Protection(),
        "dry_run": False,
    } | changed

    def render(outcomes: Sequence[Outcome]) -> Report:
        return Report(balance(outcomes), f"**{balance(outcomes)}**", plan_rows(plan, outcomes))

    @flow(name="test-job")
    async def job() -> State[Any]:
        async with connect() as api:
            return await conclude(apply(api, plan, render, key=key, acting=Acting(**acting)))

    run: Callable[..., Awaitable[State[Any]]] = job
    return await run(return_state=True)


def outcomes(rest: Rest, key: str) -> dict[str, str]:
    return {row["target"]: row["outcome"] for row in rest.table(f"{key}-table")}


async def test_one_failure_does_not_stop_the_rest_and_fails_the_run(rest: Rest) -> None:
    key = unique("job")
    pools = Pools(b=ApiProblem("no"), c=Result.SKIPPED, d=NotFound("gone"), e=KeyError("unforeseen"))
    state = await carry_out(key, plan_of("a", "b", "c", "d", "e", "f", left=["g"]), pools)
    assert state.is_failed()
    assert state.message == "6 actions: 3 done, 1 skipped, 2 failed"
    assert pools.changed == ["a", "f"]
    assert outcomes(rest, key) == {
        "a": "done", "b": "failed", "c": "skipped", "d": "done", "e": "failed", "f": "done", "g": "",
    }  # fmt: skip


async def test_a_dry_run_changes_nothing_and_shows_the_plan(rest: Rest) -> None:
    key, pools = unique("job"), Pools()
    state = await carry_out(key, plan_of("a", "b"), pools, dry_run=True)
    assert state.is_completed()
    assert pools.changed == []
    assert outcomes(rest, key) == {"a": "planned", "b": "planned"}


@pytest.mark.parametrize(
    ("limit", "population"),
    [({"max_actions": 1}, 4), ({"max_actions": 0}, 4), ({"max_share": 0.1}, 10)],
)
async def test_a_plan_over_its_limit_is_refused_whole_and_can_still_be_read(
    rest: Rest, limit: dict[str, Any], population: int
) -> None:
    key, pools = unique("job"), Pools()
    changed = {"limit": ActionLimit(**limit), "population": {Kind.POOL: population}}
    state = await carry_out(key, plan_of("a", "b", left=["c"]), pools, **changed)
    assert state.is_failed()
    assert "Nothing was done" in state.message
    assert pools.changed == []
    assert outcomes(rest, key) == {"a": "refused", "b": "refused", "c": ""}


async def test_nothing_is_done_where_a_plan_would_touch_what_is_protected(rest: Rest) -> None:
    key, pools = unique("job"), Pools()
    state = await carry_out(key, plan_of("a", "management"), pools, protection=Protection(frozenset({"management"})))
    assert state.is_failed()
    assert "'management' runs Poolkeeper itself" in state.message
    assert pools.changed == []
    assert outcomes(rest, key) == {"a": "refused", "management": "refused"}


def emitted(rest: Rest, event: str, name: str) -> dict[str, Any]:
    """The one event of that kind about what has that name."""

    def found() -> list[dict[str, Any]]:
        events = rest.ask("/events/filter", filter={"event": {"name": [event]}})["events"]
        return [each for each in events if each["resource"]["prefect.resource.name"] == name]

    (only,) = wait_for(found, what="the event")
    return only


async def test_each_change_emits_one_event_with_its_reason(rest: Rest) -> None:
    name = unique("pool")
    await carry_out(unique("job"), plan_of(name), Pools())
    event = emitted(rest, "poolkeeper.pool.paused", name)
    assert event["resource"]["prefect.resource.id"] == f"prefect.work-pool.id-{name}"
    assert event["payload"] == {"reason": f"pause {name}", "failed": 3}
    assert {related["prefect.resource.role"] for related in event["related"]} >= {"work-pool", "flow-run"}


async def test_tells_of_runs_only_once_everything_else_is_written(rest: Rest) -> None:
    name, written = unique("run"), []
    cancelled = Verdict(Target(Kind.RUN, name, f"id-{name}", pool="etl"), Verb.CANCEL, "late", {})

    async def finish() -> None:
        written.append(datetime.now(UTC))

    await carry_out(unique("job"), Plan("test-job", (cancelled,)), Pools(), finish=finish, population={Kind.RUN: 4})
    event = emitted(rest, "poolkeeper.run.cancelled", name)
    assert datetime.fromisoformat(event["occurred"]) > written[0]
