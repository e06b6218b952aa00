"""How a cleanup goes on: its ledger written before what it begins, its progress shown, its pace and its budget kept."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import anyio

from flows.policy.cleanup.pace import Pace
from flows.policy.plan import Kind, Outcome, Verdict
from flows.policy.words import lasting
from flows.prefect_api.client import Api
from flows.prefect_api.ledger import Ledger, open_ledger
from flows.prefect_api.progress import Progress

PROGRESS_KEY = "pool-cleanup-progress"
# While it waits it says that it is alive, well before another run takes it for dead.
SIGN_OF_LIFE_SECONDS = 10.0
# Of so many runs ahead it is written down that they are begun, and it is written anew after so long: what became of a
# run is easily looked up. Anything else is written down by itself.
AHEAD = 500
AHEAD_SECONDS = 5.0


@dataclass(slots=True)
class Pacing:
    """What happens before each batch of these actions."""

    api: Api
    pace: Pace
    actions: Sequence[Verdict]
    progress: Progress = field(init=False)
    started: float = field(default_factory=anyio.current_time)
    ledger: Ledger | None = None
    noted: int = 0
    noted_at: float = 0.0

    def __post_init__(self) -> None:
        self.progress = Progress(self.api, PROGRESS_KEY)

    async def proceed(self, outcomes: Sequence[Outcome], batch: Sequence[Verdict]) -> str:
        """Write down what comes next. Words, where the budget is used up."""
        if self.ledger is None:
            # The budget is for acting: a plan may have waited for its approval.
            self.started = anyio.current_time()
            self.ledger = await open_ledger(self.api)
        due = self.started + self.pace.due_after(len(outcomes)).total_seconds()
        while (wait := due - anyio.current_time()) > 0 and not self._is_over:
            await self._note(self.ledger, outcomes, begun=0)
            await anyio.sleep(min(wait, SIGN_OF_LIFE_SECONDS, self._remaining))
        if self._is_over:
            return f"the budget of {lasting(self.pace.budget)} is used up"
        if len(outcomes) + len(batch) > self.noted or anyio.current_time() - self.noted_at > AHEAD_SECONDS:
            await self._note(self.ledger, outcomes, begun=self._ahead(len(outcomes), len(batch)))
        await self._show(len(outcomes))
        return ""

    async def close(self) -> None:
        """Everything stands in the table now."""
        if self.ledger is not None:
            await self._show(len(self.actions), always=True)
            await self.ledger.close()

    async def _note(self, ledger: Ledger, outcomes: Sequence[Outcome], begun: int) -> None:
        await ledger.write(outcomes, begun)
        self.noted, self.noted_at = len(outcomes) + begun, anyio.current_time()

    def _ahead(self, done: int, batch: int) -> int:
        """How many actions are begun with this batch: it alone, or with the runs that come after it."""
        following = self.actions[done : done + AHEAD]
        runs = sum(1 for _ in takewhile(lambda verdict: verdict.target.kind is Kind.RUN, following))
        return max(batch, runs)

    @property
    def _remaining(self) -> float:
        return max(0.0, self.started + self.pace.budget.total_seconds() - anyio.current_time())

    @property
    def _is_over(self) -> bool:
        return self._remaining <= 0

    async def _show(self, done: int, *, always: bool = False) -> None:
        total = len(self.actions)
        share = 100.0 * done / total if total else 100.0
        await self.progress.show(share, f"{done} of {total} actions", always=always)
