"""What explains a pool's failures: nothing yet, one deployment or a few, or the pool itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from flows.policy.failure_threshold import FailureThreshold, Tally
from flows.policy.words import counted, some_of


@dataclass(frozen=True, slots=True)
class Suspect:
    """A deployment of the pool with enough failed runs to be failing."""

    id: str
    name: str
    tally: Tally


@dataclass(frozen=True, slots=True)
class Blame:
    """Why the pool is failing ("": it is not), why which deployments are, by id, and how the pool is otherwise."""

    pool: str = ""
    deployments: Mapping[str, str] = field(default_factory=dict)
    health: str = ""


def place_blame(whole: Tally, suspects: tuple[Suspect, ...], threshold: FailureThreshold) -> Blame:
    """The narrowest target that explains the failures.

    Deployments are blamed alone only where the rest of their pool shows, by at least `minimum_runs` good runs and a
    failure rate below the threshold, that it is healthy. Without that evidence it is the pool.
    """
    judged = threshold.judge(finished=whole.finished, failed=whole.failed)
    failing = {each: threshold.judge(finished=each.tally.finished, failed=each.tally.failed) for each in suspects}
    failing = {each: own for each, own in failing.items() if own.is_failing}
    if not failing:
        return Blame(pool=judged.words) if judged.is_failing else Blame(health=judged.words)
    rest = Tally(
        whole.finished - sum(each.tally.finished for each in failing),
        whole.failed - sum(each.tally.failed for each in failing),
    )
    good = rest.finished - rest.failed
    rest_judged = threshold.judge(finished=rest.finished, failed=rest.failed)
    if good >= threshold.minimum_runs and not rest_judged.is_failing:
        healthy = f"the rest of its work pool is healthy ({rest.failed} of {rest.finished} runs failed)"
        names = some_of(sorted(each.name for each in failing))
        return Blame(
            deployments={each.id: f"{own.words}; {healthy}" for each, own in failing.items()},
            health=f"{counted(len(failing), 'deployment')} of it {'is' if len(failing) == 1 else 'are'} failing alone: "
            f"{names}; {healthy.replace('its work pool', 'the pool')}",
        )
    names = some_of(sorted(each.name for each in failing))
    unproven = f"{counted(good, 'good run')} of the rest, of at least {threshold.minimum_runs}, do not show it healthy"
    if rest_judged.is_failing:
        unproven = "the rest fails too"
    elif not rest.finished:
        unproven = "nothing else ran"
    return Blame(pool=f"{judged.words}; failing: {names}; {unproven}")
