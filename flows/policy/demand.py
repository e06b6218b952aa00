"""What the runs of a work pool ask of it: slots, when, and for how long."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf

from flows.policy.durations import Duration
from flows.policy.facts import DeploymentFacts, RunFacts
from flows.policy.fleet import PoolState
from flows.policy.slots import Limits, Want
from flows.policy.stuck import stuck_runs
from flows.policy.upcoming import UpcomingRun

# A run of unknown length holds its slot at least for a moment.
A_MOMENT = 1.0


@dataclass(frozen=True, slots=True)
class PoolDemand:
    """A work pool, its upcoming runs in the order in which they are due, and how long runs take by deployment."""

    state: PoolState
    runs: Sequence[UpcomingRun]
    deployments: Mapping[str, DeploymentFacts]
    durations: Mapping[str, Duration]
    now: datetime

    @property
    def limits(self) -> Limits:
        queues = sorted(self.state.queues, key=lambda queue: (queue.priority, queue.name))
        own = {run.deployment_id for run in self.runs}
        limited = {key: each for key, each in self.deployments.items() if key in own and each.limit is not None}
        return Limits(
            pool=self.state.pool.concurrency_limit,
            queues={queue.id: queue.concurrency_limit for queue in queues},
            deployments={key: each.limit for key, each in limited.items() if each.limit is not None},
            cancels=frozenset(key for key, each in limited.items() if each.cancels),
        )

    @property
    def unknown(self) -> tuple[str, ...]:
        """The deployments, by name, of which no past run tells how long their runs take."""
        ids = dict.fromkeys(run.deployment_id or "" for run in self.runs)
        missing = [key for key in ids if key not in self.durations]
        return tuple(self.deployments[key].name if key in self.deployments else "?" for key in missing)

    @property
    def past_runs(self) -> int:
        """How many past runs the durations of these runs are judged from."""
        ids = {run.deployment_id or "" for run in self.runs}
        return sum(self.durations[key].runs for key in ids if key in self.durations)

    def wants(self, runs: Iterable[UpcomingRun], *, high: bool = False, unknown: float = A_MOMENT) -> list[Want]:
        """What these runs ask for; `high`: as long as the slower of them took. `unknown` stands for lengths nobody
        knows."""
        lengths = {key: self._seconds(each, high=high) for key, each in self.durations.items()}
        return [
            Want(
                (run.due_at - self.now).total_seconds(),
                lengths.get(run.deployment_id or "", unknown),
                run.queue_id or "",
                run.deployment_id or "",
            )
            for run in runs
        ]

    def held(self, *, high: bool = False, unknown: float = A_MOMENT) -> list[Want]:
        """The slots in use now, and for how much longer. Without sign of life they are held for good."""
        stuck = {run.id for run in stuck_runs(self.state, self.now)}
        return [
            Want(
                0.0,
                inf if run.id in stuck else self._still(run, high=high, unknown=unknown),
                run.queue_id or "",
                run.deployment_id or "",
            )
            for run in self.state.active
        ]

    def _still(self, run: RunFacts, *, high: bool, unknown: float) -> float:
        """Nobody knows how long a run still takes that has taken longer than nine of ten did."""
        known, so_far = self.durations.get(run.deployment_id or ""), (self.now - run.since).total_seconds()
        if known is None or so_far >= known.high.total_seconds():
            return unknown
        usual = self._seconds(known, high=high or so_far >= known.median.total_seconds())
        return max(A_MOMENT, usual - so_far)

    @staticmethod
    def _seconds(known: Duration, *, high: bool) -> float:
        return max(A_MOMENT, (known.high if high else known.median).total_seconds())
