"""Which runs hold a slot although nothing seems to happen any more."""

from datetime import datetime, timedelta

from flows.policy.facts import RunFacts
from flows.policy.fleet import PoolState

# A worker claims a run and starts it within seconds, a cluster within minutes. Longer, and it looks stuck.
PENDING_LOOKS_STUCK = timedelta(minutes=10)
CANCELLING_LOOKS_STUCK = timedelta(minutes=10)
# With no worker online a claimed run cannot be on its way: this is how long a worker may be silent.
UNATTENDED_LOOKS_STUCK = timedelta(seconds=90)


def stuck_runs(state: PoolState, now: datetime) -> tuple[RunFacts, ...]:
    """Runs that hold a slot, or wait to be cancelled, with no sign that anything is happening."""
    unattended = not state.is_attended(now)

    def is_stuck(run: RunFacts) -> bool:
        age = now - run.since
        if run.state_type == "PENDING":
            return age > (UNATTENDED_LOOKS_STUCK if unattended else PENDING_LOOKS_STUCK)
        # Only a process lives and dies with its worker; a container or a pod goes on without one.
        return state.pool.type == "process" and unattended and age > UNATTENDED_LOOKS_STUCK

    cancelling = (run for run in state.cancelling if now - run.since > CANCELLING_LOOKS_STUCK)
    return (*filter(is_stuck, state.active), *cancelling)
