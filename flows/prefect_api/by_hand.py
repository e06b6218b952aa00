"""Carrying out what a person asked for: each work pool read again, decided again, and set in one write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flows.policy.archive import newest_by_pool
from flows.policy.backlog import to_drop
from flows.policy.bad_input import BadInput
from flows.policy.lease import LONGEST_REASON
from flows.policy.lifecycle.decision import SeenPool
from flows.policy.lifecycle.request import Hand, story
from flows.policy.lifecycle.step import Step
from flows.policy.lifecycle.steps import next_step
from flows.policy.pause_note import read_deletion
from flows.policy.plan import ALREADY_GONE, Kind, Outcome, Result, Verb, Verdict
from flows.policy.words import counted, some_of
from flows.prefect_api.archive import read_archives
from flows.prefect_api.bookings import book_run
from flows.prefect_api.client import Api
from flows.prefect_api.deletion import Deletion
from flows.prefect_api.draining import Draining
from flows.prefect_api.restore import Restored, restore, undo_deletion
from flows.prefect_api.waiting import drop, still_waiting
from flows.prefect_api.work_pools import change_pool, read_pool

CANCELLED = "Cancelled by Poolkeeper: {}."
# On a run that is to end a pause: which one.
ENDS_PAUSE = "poolkeeper-pause-"


@dataclass(slots=True)
class Hands:
    """Carries out a plan, for `apply`. `deployment_id` is that of this flow, for runs that it books."""

    api: Api
    hand: Hand
    seen: Mapping[str, SeenPool]
    deployment_id: str | None
    draining: Draining = field(init=False)
    deletion: Deletion = field(init=False)

    def __post_init__(self) -> None:
        self.draining = Draining(self.api, self.hand)
        self.deletion = Deletion(self.api, self.hand)

    async def act(self, verdicts: Sequence[Verdict]) -> Sequence[Outcome]:
        first = verdicts[0]
        if first.target.kind is Kind.RUN:
            if self.hand.request.action == "delete":
                return await self.deletion.cancel(verdicts)
            return await drop(self.api, verdicts, CANCELLED.format(first.reason))
        if first.target.kind is Kind.DEPLOYMENT:
            return [await self.deletion.turn_over(first)]
        ways = {
            Verb.DRAIN: self.draining.drain,
            Verb.DELETE: self.deletion.delete,
            Verb.RESTORE: self._restore,
        }
        return [await ways.get(first.verb, self._step)(first)]

    async def _step(self, verdict: Verdict) -> Outcome:
        """Take the step, if the pool as it is now still asks for the same one."""
        pool, seen = await read_pool(self.api, verdict.target.name), self.seen[verdict.target.name]
        if pool is None or pool.id != verdict.target.id:
            return Outcome(verdict, Result.DONE, ALREADY_GONE)
        step = next_step(self.hand, pool, is_paused_anew=seen.is_paused_anew)
        if (step.verb, step.reason) != (verdict.verb, verdict.reason):
            return Outcome(verdict, Result.SKIPPED, f"it changed meanwhile: {step.reason}")
        if step.verb is Verb.RESUME and await self._has_backlog(seen):
            return Outcome(verdict, Result.FAILED, "its backlog could not be cancelled; it stays paused until it can")
        if step.verb is Verb.PAUSE:
            # Before the pause, which never stands without the end that its note tells of.
            await self._book_end(verdict)
        await self._take(pool.name, step)
        return Outcome(verdict, Result.DONE)

    async def _take(self, name: str, step: Step) -> None:
        await change_pool(self.api, name, dict(step.changes))
        if self.hand.request.action == "delete":
            await self.deletion.begin(name)

    async def _has_backlog(self, seen: SeenPool) -> bool:
        dropped = to_drop(seen.waiting, self.hand.request.backlog)
        return bool(await still_waiting(self.api, [run.id for run in dropped]))

    async def _book_end(self, verdict: Verdict) -> None:
        until, request, target = self.hand.until, self.hand.request, verdict.target
        if until is None or self.deployment_id is None:
            return
        tag = self.hand.tag(target.id)
        reason = f"its pause is over ({request.reason.strip()})"[:LONGEST_REASON]
        parameters = {"action": "resume", "pool": target.name, "reason": reason, "actor": self.hand.by}
        await book_run(
            self.api,
            self.deployment_id,
            parameters | {"backlog": request.backlog},
            at=until,
            key=tag,
            name=story("resume", target.name, reason),
            tags=[f"{ENDS_PAUSE}{tag}"],
        )

    async def _restore(self, verdict: Verdict) -> Outcome:
        """From the newest archive that there is by now; a deletion that was only begun is undone."""
        name = verdict.target.name
        pool = await read_pool(self.api, name)
        try:
            if pool is not None and read_deletion(pool.description):
                return _outcome(verdict, await undo_deletion(self.api, pool))
            archive = newest_by_pool(await read_archives(self.api)).get(name)
            if archive is None:
                return Outcome(verdict, Result.SKIPPED, "its archive is gone, or its deletion was undone meanwhile")
            return _outcome(verdict, await restore(self.api, archive))
        except BadInput as problem:
            return Outcome(verdict, Result.FAILED, str(problem))


def _outcome(verdict: Verdict, restored: Restored) -> Outcome:
    """One that could not be attached is no success, although the work pool is back."""
    return Outcome(verdict, Result.FAILED if restored.failed else Result.DONE, _told(restored))


def _told(restored: Restored) -> str:
    left = some_of([f"{name}: {why}" for name, why in restored.left])
    attached = f"{counted(len(restored.attached), 'deployment')} attached"
    return attached + (f"; not attached: {left}" if left else "")
