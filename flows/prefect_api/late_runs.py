"""Runs that should have started long ago: read, and cancelled fifty at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

from flows.policy.cleanup.kinds import Scope
from flows.policy.cleanup.late_runs import LateRun, untouchable
from flows.policy.plan import Outcome, Verdict
from flows.prefect_api.client import Api, decode, instant
from flows.prefect_api.flow_runs import in_states, read_run_rows, read_runs_as, was_expected
from flows.prefect_api.paging import Row
from flows.prefect_api.waiting import cancel_waiting, cancelled_unless

CANCELLED = "Cancelled by Poolkeeper: late by more than {:g} h, and its deployment has a newer one."


async def observe_late_runs(api: Api, scope: Scope) -> tuple[LateRun, ...]:
    """The runs of the selected pools that were due by now and have not started."""
    if not scope.names:
        return ()
    runs = in_states("SCHEDULED") | was_expected(before=scope.now)
    due = await read_runs_as(lambda page: decode(page, "flow run", _late_run), api, runs, scope.names)
    # Someone may have put off a run that was due: it is late only from then on.
    return tuple(run for run in due if run.due_at <= scope.now)


@dataclass(frozen=True, slots=True)
class LateRuns:
    """Cancels what was decided, for `apply`."""

    api: Api
    scope: Scope
    runs: tuple[LateRun, ...]

    async def clear(self, verdicts: Sequence[Verdict]) -> Sequence[Outcome]:
        """Cancel those that still wait as they did."""
        ids = [verdict.target.id for verdict in verdicts]
        seen = {run.id: run for run in self.runs if run.id in set(ids)}
        rows = await read_run_rows(self.api, {"id": {"any_": ids}})
        changed = {row["id"]: self._difference(seen[row["id"]], row) for row in rows}
        wanted = [each for each in ids if changed.get(each) == ""]
        words = CANCELLED.format(self.scope.retention.late_hours)
        cancelled = await cancel_waiting(self.api, wanted, words) if wanted else frozenset()
        return await cancelled_unless(changed, self.api, verdicts, cancelled, words)

    def _difference(self, seen: LateRun, row: Row) -> str:
        if row["state_id"] != seen.state_id:
            return f"it changed meanwhile, now {row['state_name']}"
        (now,) = decode([row], "flow run", _late_run)
        return untouchable(now, self.scope)


def _late_run(row: Row) -> LateRun:
    expected = instant(row["expected_start_time"])
    put_off = instant(row.get("next_scheduled_start_time"))
    return LateRun(
        id=row["id"],
        name=row["name"],
        pool=row["work_pool_name"],
        deployment_id=row.get("deployment_id"),
        due_at=max(each for each in (expected, put_off) if each),
        state_name=row["state_name"],
        state_id=row["state_id"],
        auto_scheduled=row["auto_scheduled"],
        starts=row["run_count"],
        tags=frozenset(row["tags"]),
    )
