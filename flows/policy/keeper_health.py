"""Whether the keeper on a server is well: the lines of `poolkeeper doctor` about its own things."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from flows.policy.fleet import PoolState
from flows.policy.server_health import Check
from flows.policy.words import counted, some_of

# A worker claims a run and starts it within seconds. One that waits this long was left behind by a worker that died.
STRANDED_AFTER = timedelta(minutes=5)
# Of a worker that is busy, a run waits no longer than the next one of the quickest schedule.
MISSED_AFTER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class InstalledFacts:
    """A deployment or automation of the keeper: what is otherwise than written, and whether it is switched off."""

    name: str
    drift: tuple[str, ...]
    is_off: bool = False
    copies: int = 1


@dataclass(frozen=True, slots=True)
class KeeperFacts:
    """The keeper's own things on a server. `scheduled_runs` are the future ones of its deployments with schedules.

    `lost_runs` are the names of own runs that nobody works on any more, `missed_runs` counts those that should have
    started `MISSED_AFTER` ago.
    """

    pool_name: str
    pool: PoolState | None
    deployments: tuple[InstalledFacts, ...]
    automations: tuple[InstalledFacts, ...]
    active_schedules: int
    scheduled_runs: int
    now: datetime
    lost_runs: tuple[str, ...] = ()
    missed_runs: int = 0


def check_keeper(facts: KeeperFacts) -> tuple[Check, ...]:
    """Is what was deployed there, current, and able to run?"""
    deployments = [_installed("deployment", each) for each in facts.deployments]
    automations = [_installed("automation", each) for each in facts.automations]
    return (*_pool(facts), *deployments, _scheduler(facts), _missed(facts), *automations, _stranded(facts))


def _pool(facts: KeeperFacts) -> list[Check]:
    what = f"work pool {facts.pool_name}"
    if facts.pool is None:
        return [Check(what, "is not there", "Run 'poolkeeper deploy'.")]
    if facts.pool.pool.is_paused:
        paused = Check(what, "is paused: none of the keeper's flows run", "Resume it on its page in the UI.")
    elif facts.pool.pool.concurrency_limit == 0:
        paused = Check(what, "has a concurrency limit of 0: nothing starts", "Raise the limit on its page in the UI.")
    else:
        paused = Check(what, f"is there ({facts.pool.pool.type}), not paused")
    online = facts.pool.workers_online(facts.now)
    if online or not facts.pool.pool.has_workers:
        worker = Check("worker", f"online: {some_of([each.name for each in online])}" if online else "none needed")
    else:
        start = f"prefect worker start --pool {facts.pool_name}"
        worker = Check("worker", f"none of {len(facts.pool.workers)} is online", f"Start one: {start}")
    return [paused, worker]


def _installed(kind: str, facts: InstalledFacts) -> Check:
    what = f"{kind} {facts.name}"
    if facts.drift == ("missing",):
        return Check(what, "is not there", "Run 'poolkeeper deploy'.")
    if facts.drift:
        return Check(what, f"is otherwise than written: {', '.join(facts.drift)}", "Run 'poolkeeper deploy'.")
    if facts.copies > 1:
        return Check(what, f"is there {facts.copies} times", "Delete all but the oldest in the UI.")
    return Check(what, "is as written" + (", switched off by a person" if facts.is_off else ""))


def _scheduler(facts: KeeperFacts) -> Check:
    if not facts.active_schedules:
        return Check("scheduler", "no active schedule to judge it by")
    found = f"{counted(facts.scheduled_runs, 'future run')} from {counted(facts.active_schedules, 'active schedule')}"
    if facts.scheduled_runs:
        return Check("scheduler", found)
    return Check(
        "scheduler",
        found,
        "The server's scheduler makes no runs. Look at its log; check that its services are on and that it has "
        "sqlalchemy<2.1.",
    )


def _missed(facts: KeeperFacts) -> Check:
    if not facts.missed_runs:
        return Check("schedules", "no run is overdue")
    return Check(
        "schedules",
        f"{counted(facts.missed_runs, 'run')} should have started and did not",
        f"See that work pool {facts.pool_name} and its work queues are neither paused nor limited to 0, and that a "
        "worker asks for their runs. These start by themselves then; what nobody needs any more, cancel in the UI.",
    )


def _stranded(facts: KeeperFacts) -> Check:
    active = facts.pool.active if facts.pool else ()
    waiting = [run.name for run in active if run.state_type == "PENDING" and facts.now - run.since > STRANDED_AFTER]
    lost = [name for name in facts.lost_runs if name not in waiting]
    if not waiting and not lost:
        return Check("own runs", "none stranded")
    found = [f"{counted(len(waiting), 'run')} stranded in Pending: {some_of(waiting)}"] if waiting else []
    found += [f"{counted(len(lost), 'run')} that nobody works on any more: {some_of(lost)}"] if lost else []
    return Check(
        "own runs",
        "; ".join(found),
        "They hold slots. The automation for stranded runs ends each 15 minutes after its last sign "
        "of life; where it was not there yet, cancel them in the UI.",
    )
