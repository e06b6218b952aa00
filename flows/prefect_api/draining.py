"""Waiting until what runs on a paused work pool has ended."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import anyio
from prefect import get_run_logger

from flows.policy.facts import PoolFacts, RunFacts
from flows.policy.lifecycle.request import JOB, Hand
from flows.policy.pause_note import as_drained, read_pause
from flows.policy.plan import ALREADY_GONE, Outcome, Result, Verdict
from flows.policy.words import counted, lasting, some_of
from flows.prefect_api.client import Api, Unreachable
from flows.prefect_api.flow_runs import ACTIVE, in_states, read_runs
from flows.prefect_api.progress import Progress
from flows.prefect_api.work_pools import change_pool, read_pool

PROGRESS_KEY = f"{JOB}-progress"
# How often it looks: every second at first, then less and less often.
SHORTEST_LOOK, LONGEST_LOOK, LOOKS_PER_WAIT = 1.0, 10.0, 20
# What a worker had asked for just before the pause becomes pending only now.
SETTLES_SECONDS = 5.0
TOLD_AGAIN_SECONDS = 60.0


@dataclass(slots=True)
class Draining:
    """The waiting of one run, for all its pools together. `still` are the runs that had not ended in time, by pool."""

    api: Api
    hand: Hand
    still: dict[str, tuple[RunFacts, ...]] = field(default_factory=dict)
    progress: Progress = field(init=False)
    started: float | None = None
    told: tuple[int, float] = (-1, 0.0)

    def __post_init__(self) -> None:
        self.progress = Progress(self.api, PROGRESS_KEY)

    async def drain(self, verdict: Verdict) -> Outcome:
        """Wait until the pool's runs have ended; no longer than asked for, and not after somebody has resumed it."""
        name, most = verdict.target.name, 0
        self.started = self.started or anyio.current_time()
        while True:
            try:
                pool, runs = await self._look(name)
            except Unreachable as problem:
                # A server may be upgraded as well.
                await self._unanswered(problem)
                continue
            if pool is None or pool.id != verdict.target.id:
                return Outcome(verdict, Result.DONE, ALREADY_GONE)
            if not pool.is_paused:
                words = f"it is not paused: somebody has resumed it; {counted(len(runs), 'run')} had not ended"
                return Outcome(verdict, Result.SKIPPED, words)
            if not runs and self._waited >= SETTLES_SECONDS:
                return await self._drained(verdict, pool)
            if runs and self._waited >= self.hand.request.wait_minutes * 60:
                self.still[name] = runs
                return Outcome(verdict, Result.FAILED, await self._in_words(runs))
            most = max(most, len(runs))
            await self._tell(name, most - len(runs), most)
            await anyio.sleep(self._until_next_look)

    async def _look(self, name: str) -> tuple[PoolFacts | None, tuple[RunFacts, ...]]:
        """The pool before its runs: where it is gone or resumed, what runs does not count."""
        pool = await read_pool(self.api, name)
        return pool, tuple(await read_runs(self.api, in_states(*ACTIVE), [name]))

    async def _unanswered(self, problem: Unreachable) -> None:
        """Wait for the server to answer again; no longer than for the runs."""
        if self._waited >= self.hand.request.wait_minutes * 60:
            raise problem
        get_run_logger().warning("%s Looking again.", problem)
        await anyio.sleep(self._until_next_look)

    @property
    def _until_next_look(self) -> float:
        return min(LONGEST_LOOK, max(SHORTEST_LOOK, self._waited / LOOKS_PER_WAIT))

    @property
    def _waited(self) -> float:
        """Seconds since all pools were paused."""
        return anyio.current_time() - (self.started or anyio.current_time())

    async def _drained(self, verdict: Verdict, pool: PoolFacts) -> Outcome:
        """Its note says so from then on."""
        await self.progress.show(100.0, f"{pool.name}: nothing runs any more", always=True)
        note, now = read_pause(pool.description), await self.api.server_time()
        description = as_drained(pool.description, note.tag, now) if note else pool.description
        if description != pool.description:
            await change_pool(self.api, pool.name, {"description": description})
        return Outcome(verdict, Result.DONE)

    async def _in_words(self, runs: Sequence[RunFacts]) -> str:
        now = await self.api.server_time()
        named = [f"{run.name} ({run.state_name} for {lasting(now - run.since)})" for run in runs]
        waited = lasting(timedelta(seconds=self._waited))
        return (
            f"{counted(len(runs), 'run')} had not ended after {waited}: {some_of(named)}. "
            "It stays paused. Run drain again to go on waiting, or resume to end it"
        )

    async def _tell(self, name: str, ended: int, of: int) -> None:
        """On the run's page, and in its log when something has changed, or once a minute."""
        words = f"{name}: {ended} of {counted(of, 'run')} ended"
        await self.progress.show(100.0 * ended / of if of else 0.0, words)
        number, at = self.told
        if of - ended != number or self._waited - at >= TOLD_AGAIN_SECONDS:
            self.told = of - ended, self._waited
            get_run_logger().info("%s, %s to go", words, of - ended)
