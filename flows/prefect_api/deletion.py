"""Deleting a work pool by hand: archived, what depends on it dealt with, looked at once more, deleted.

The note on the pool tells how it was before. Whoever dies in between leaves a paused pool with that note: the next
delete goes on from there, and restore undoes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from flows.policy.archive import Archive
from flows.policy.dependents import still_needed
from flows.policy.lifecycle.request import Hand
from flows.policy.lifecycle.step import pool_target
from flows.policy.pause_note import read_deletion
from flows.policy.plan import ALREADY_GONE, Outcome, Result, Verb, Verdict
from flows.prefect_api.archive import keep_pool, queues_of, snapshot_pool
from flows.prefect_api.client import Api, NotFound
from flows.prefect_api.dependents import observe_dependents
from flows.prefect_api.deployments import read_named_rows
from flows.prefect_api.paths import pool_path
from flows.prefect_api.waiting import cancel_unfinished, cancelled
from flows.prefect_api.work_pools import read_pool

GIVEN_UP = "its deletion was given up: somebody has resumed it, or it could not be begun"
CANCELLED = "Cancelled by Poolkeeper: its work pool is deleted. {}"
GO_ON = "It stands paused. Run delete again to go on, or restore to undo it"


@dataclass(slots=True)
class Deletion:
    """Deletes pools, for `apply`. `kept` is what was archived, with the name of its block, by pool."""

    api: Api
    hand: Hand
    kept: dict[str, tuple[str, Archive]] = field(default_factory=dict)
    queues: frozenset[str] | None = None

    async def begin(self, name: str) -> str:
        """Archive the pool, once. Words where that cannot be, because its deletion was not begun or was given up."""
        pool = await read_pool(self.api, name)
        if pool is None:
            raise NotFound(f"work pool {name!r} is gone.")
        if not pool.is_paused or read_deletion(pool.description) is None:
            return GIVEN_UP
        if name not in self.kept:
            options = self.hand.request.delete
            archive = await snapshot_pool(
                self.api,
                name,
                reason=self.hand.why,
                now=self.hand.now,
                pauses=options.archive_deployments,
                moved_to=options.move_deployments_to,
            )
            self.kept[name] = await keep_pool(self.api, archive), archive
        return ""

    async def turn_over(self, verdict: Verdict) -> Outcome:
        """Move a deployment to the other pool, or pause it."""
        pool = verdict.target.pool or ""
        if words := await self.begin(pool):
            return Outcome(verdict, Result.SKIPPED, words)
        rows = await read_named_rows(self.api, [verdict.target.id])
        if not rows:
            return Outcome(verdict, Result.DONE, ALREADY_GONE)
        if rows[0].get("work_pool_name") != pool:
            return Outcome(verdict, Result.SKIPPED, "it belongs to another work pool by now, or to none")
        path = f"/deployments/{verdict.target.id}"
        if verdict.verb is Verb.CHANGE:
            await self.api.write("PATCH", path, await self._place(rows[0]["work_queue_name"]))
        elif rows[0]["paused"]:
            return Outcome(verdict, Result.SKIPPED, "somebody has paused it meanwhile")
        else:
            await self.api.write("PATCH", path, {"paused": True})
        return Outcome(verdict, Result.DONE)

    async def cancel(self, verdicts: Sequence[Verdict]) -> Sequence[Outcome]:
        if words := await self.begin(verdicts[0].target.pool or ""):
            return [Outcome(verdict, Result.SKIPPED, words) for verdict in verdicts]
        ids = [verdict.target.id for verdict in verdicts]
        words = CANCELLED.format(self.hand.why)
        gone = await cancel_unfinished(self.api, ids, words)
        return await cancelled(self.api, verdicts, gone, words, "it has ended meanwhile")

    async def delete(self, verdict: Verdict) -> Outcome:
        """Delete the pool, unless something depends on it by now."""
        name = verdict.target.name
        if words := await self.begin(name):
            return Outcome(verdict, Result.SKIPPED, words)
        pool = await read_pool(self.api, name)
        if pool is None or pool.id != verdict.target.id:
            return Outcome(verdict, Result.DONE, ALREADY_GONE)
        block, archive = self.kept[name]
        there = await observe_dependents(self.api, pool)
        now, options = await self.api.server_time(), self.hand.request.delete
        if words := still_needed(pool_target(pool), there, options, archive.deployments, now):
            return Outcome(verdict, Result.FAILED, f"it is still needed: {words}. {GO_ON}")
        await self.api.write("DELETE", pool_path(name))
        return Outcome(verdict, Result.DONE, f"archived as {block}")

    async def _place(self, queue: str | None) -> dict[str, str]:
        """In the queue of the same name where the other pool has one, otherwise in its default queue."""
        pool = self.hand.request.delete.move_deployments_to
        if self.queues is None:
            self.queues = frozenset(row["name"] for row in await queues_of(self.api, pool))
        return {"work_pool_name": pool} | ({"work_queue_name": queue} if queue and queue in self.queues else {})
