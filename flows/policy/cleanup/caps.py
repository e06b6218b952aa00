"""How much of each kind one run clears away at most. What is more is left for the next run."""

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from flows.policy.cleanup.kinds import CleanupKind, Found
from flows.policy.plan import ActionLimit, Verb, Verdict

BEYOND = "more than may go at once"


def _cap(default: int, title: str) -> int:
    cap: int = Field(
        default=default,
        ge=0,
        title=title,
        description=f"At most this many {title[0].lower()}{title[1:]} in one run, the oldest first; 0 leaves them all.",
    )
    return cap


class Caps(BaseModel):
    """The most of each kind in one run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    finished_runs: int = _cap(10_000, "Finished runs")
    late_runs: int = _cap(1_000, "Late runs")
    stuck_runs: int = _cap(100, "Stuck runs")
    orphaned_runs: int = _cap(1_000, "Orphaned runs")
    orphaned_deployments: int = _cap(50, "Orphaned deployments")
    offline_workers: int = _cap(500, "Offline workers")
    empty_queues: int = _cap(50, "Empty queues")
    idle_pools: int = _cap(10, "Idle work pools")

    def of(self, kind: CleanupKind) -> int:
        most: int = getattr(self, kind.replace("-", "_"))
        return most


class CleanupLimit(ActionLimit):
    """The most that one run may change in all; over it, nothing is done at all."""

    max_actions: int = Field(
        default=15_000,
        ge=0,
        title="Most actions",
        description="The most things one run may change, of all kinds. A plan with more is refused as a whole.",
    )


def within(found: Found, most: int) -> Found:
    """The same without the actions beyond the cap, which are counted instead."""
    actions, others = _split(found.verdicts)
    beyond = actions[most:]
    if not beyond:
        return found
    left = Counter(found.left) + Counter({BEYOND: len(beyond)})
    return Found((*actions[:most], *others), left)


def _split(verdicts: Sequence[Verdict]) -> tuple[list[Verdict], list[Verdict]]:
    actions = [verdict for verdict in verdicts if verdict.verb is not Verb.LEAVE]
    return actions, [verdict for verdict in verdicts if verdict.verb is Verb.LEAVE]
