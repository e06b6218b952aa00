"""Carrying out what pool-reconcile has decided: each target is read again, and changed where it is still as it was."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from flows.policy.plan import ALREADY_DONE, Kind, Outcome, Result, Target, Verb, Verdict
from flows.policy.pool_spec import PoolSpec
from flows.policy.reconcile.decision import Decision
from flows.policy.reconcile.differences import AS_WRITTEN, Step
from flows.policy.reconcile.facts import Created, PoolThere, ReconcileFacts, TemplateProblem
from flows.policy.reconcile.notes import being_created, is_being_created
from flows.policy.reconcile.pools import decide_pool
from flows.policy.reconcile.queues import decide_queue
from flows.prefect_api.client import AlreadyThere, Api, NotFound
from flows.prefect_api.created import forget_created, remember_created
from flows.prefect_api.paging import Row
from flows.prefect_api.paths import pool_path, queue_path
from flows.prefect_api.prune import prune_pool
from flows.prefect_api.reconcile import read_pool_there, read_queues_there
from flows.prefect_api.unused import CHANGED
from flows.prefect_api.work_pools import change_pool

ALREADY = f"it is {AS_WRITTEN} meanwhile"
GONE = "it is gone meanwhile; the next run creates it"
NO_POOL = "its work pool is not there, or another one has its name"
THERE = "somebody else has created it meanwhile"
OTHERWISE = CHANGED.format("it is otherwise than when this was planned")


@dataclass(frozen=True, slots=True)
class Reconciling:
    """Carries out verdicts, for `apply`. `settled` are the targets that are as written by now."""

    api: Api
    facts: ReconcileFacts
    decision: Decision
    settled: set[Target] = field(default_factory=set)

    async def act(self, verdicts: Sequence[Verdict]) -> Sequence[Outcome]:
        return [await self._act(verdict) for verdict in verdicts]

    async def _act(self, verdict: Verdict) -> Outcome:
        step = self.decision.steps[verdict.target]
        if verdict.verb is Verb.DELETE:
            return await self._prune(verdict)
        try:
            outcome = await (self._pool if verdict.target.kind is Kind.POOL else self._queue)(verdict, step)
        except NotFound:
            # What is to be as written is not done because it is gone.
            return Outcome(verdict, Result.SKIPPED, GONE)
        if outcome.result is Result.DONE or outcome.detail == ALREADY:
            self.settled.add(verdict.target)
        return outcome

    async def _pool(self, verdict: Verdict, step: Step) -> Outcome:
        if verdict.verb is Verb.CREATE:
            return await self._create(verdict, step)
        name = verdict.target.name
        found = await read_pool_there(self.api, name, self.facts.pools[name])
        if found is None or found[0].id != verdict.target.id:
            return Outcome(verdict, Result.SKIPPED, GONE)
        there, row = found
        now = self._decided_now(there)
        if now is None or now.basis != step.basis:
            is_as_written = now is not None and now.verb is Verb.LEAVE and not now.differences
            return Outcome(verdict, Result.SKIPPED, ALREADY if is_as_written else OTHERWISE)
        if is_being_created(there.description):
            await remember_created(self.api, self._created(row))
        await change_pool(self.api, name, dict(now.body))
        return Outcome(verdict, Result.DONE)

    def _decided_now(self, there: PoolThere) -> Step | None:
        try:
            return decide_pool(self._spec(there.name), replace(self.facts, pools={there.name: there}))
        except TemplateProblem:
            return None

    async def _create(self, verdict: Verdict, step: Step) -> Outcome:
        """The note that it is being created stands until it is written down whose it is."""
        description = step.body.get("description")
        note = being_created(self.facts.path, description)
        detail = ""
        try:
            row = await self.api.write("POST", "/work_pools/", {**step.body, "description": note})
        except AlreadyThere:
            row, detail = await self.api.read(pool_path(verdict.target.name)), ALREADY_DONE
            # The answer to our own request may have been lost; or another run is just making it of the same spec.
            if row.get("description") != note:
                return Outcome(verdict, Result.SKIPPED, THERE)
        await remember_created(self.api, self._created(row))
        await change_pool(self.api, verdict.target.name, {"description": description})
        return Outcome(verdict, Result.DONE, detail, made_id=row["id"])

    async def _queue(self, verdict: Verdict, step: Step) -> Outcome:
        pool, name = str(verdict.target.pool), verdict.target.name.removeprefix(f"{verdict.target.pool}/")
        before = self.facts.pools.get(pool)
        found = await read_pool_there(self.api, pool, before)
        if found is None or (before is not None and before.id != found[0].id):
            return Outcome(verdict, Result.SKIPPED, NO_POOL)
        there = next((each for each in await read_queues_there(self.api, pool) if each.name == name), None)
        if verdict.verb is Verb.CREATE:
            return await self._create_queue(verdict, step, pool, is_there=there is not None)
        if there is None:
            return Outcome(verdict, Result.SKIPPED, GONE)
        wanted = next(each for each in self._spec(pool).queues if each.name == name)
        now = decide_queue(pool, wanted, there, there.priority)
        if now.basis != step.basis:
            return Outcome(verdict, Result.SKIPPED, ALREADY if now.verb is Verb.LEAVE else OTHERWISE)
        await self.api.write("PATCH", queue_path(pool, name), dict(now.body))
        return Outcome(verdict, Result.DONE, made_id=there.id)

    async def _create_queue(self, verdict: Verdict, step: Step, pool: str, *, is_there: bool) -> Outcome:
        if is_there:
            return Outcome(verdict, Result.SKIPPED, THERE)
        name = verdict.target.name.removeprefix(f"{pool}/")
        try:
            row = await self.api.write("POST", f"{pool_path(pool)}/queues", {"name": name, **step.body})
        except AlreadyThere:
            row = await self.api.read(queue_path(pool, name))
            is_as_asked = all(row.get(key) == value for key, value in step.body.items())
            return Outcome(verdict, *((Result.DONE, ALREADY_DONE) if is_as_asked else (Result.SKIPPED, THERE)))
        return Outcome(verdict, Result.DONE, made_id=row["id"])

    async def _prune(self, verdict: Verdict) -> Outcome:
        outcome = await prune_pool(self.api, verdict)
        if outcome.result is Result.DONE:
            await forget_created(self.api, self.facts.created[verdict.target.id])
        return outcome

    def _spec(self, pool: str) -> PoolSpec:
        return next(each for each in self.facts.spec.pools if each.name == pool)

    def _created(self, row: Row) -> Created:
        protected = self._spec(row["name"]).protected
        return Created(
            pool=row["name"], id=row["id"], spec=self.facts.path, created_at=row["created"], protected=protected
        )
