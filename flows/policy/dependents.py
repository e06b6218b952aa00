"""What depends on a work pool that is to go, and what becomes of it. Without an answer for each, the pool stays."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from flows.policy.backlog import HELD
from flows.policy.facts import DeploymentFacts, WorkerFacts
from flows.policy.lifecycle.request import DeleteOptions
from flows.policy.plan import Kind, Number, Target, UnsafePlan, Verb, Verdict
from flows.policy.words import counted, some_of

MOMENT = "%Y-%m-%d %H:%M:%S"
WAYS_OUT = {
    Kind.WORKER: "stop the workers, which would make the work pool again",
    Kind.DEPLOYMENT: "say delete.move_deployments_to or delete.archive_deployments",
    Kind.RUN: "wait for the runs (drain), or say delete.cancel_runs",
    Kind.AUTOMATION: "change the automations, or say delete.ignore_automations",
}


class StillNeeded(UnsafePlan):
    """Something depends on a work pool that is to go. Nothing was done."""


@dataclass(frozen=True, slots=True)
class DependentRun:
    """A run that has not ended. `due_at` is when it is to start next, `starts` how often it was started before."""

    id: str
    name: str
    deployment_id: str | None
    state_type: str
    state_name: str
    since: datetime
    due_at: datetime | None = None
    auto_scheduled: bool = False
    starts: int = 0

    def is_made_anew(self, now: datetime) -> bool:
        """Whether Prefect deletes it, and makes it again where that is due, once its deployment is changed."""
        if not self.auto_scheduled or self.starts or self.state_type != "SCHEDULED" or self.state_name == HELD:
            return False
        return self.due_at is not None and self.due_at > now


@dataclass(frozen=True, slots=True)
class Dependents:
    """Everything that may depend on a pool; `automations` are those that name it, by id. `workers` has all of them."""

    deployments: tuple[DeploymentFacts, ...] = ()
    runs: tuple[DependentRun, ...] = ()
    workers: tuple[WorkerFacts, ...] = ()
    automations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ending:
    """What becomes of it: `verdicts` with those to leave, `obstacles` among these, and `left` counted by reason."""

    verdicts: tuple[Verdict, ...]
    obstacles: tuple[Verdict, ...] = ()
    left: Mapping[str, int] = field(default_factory=dict)


def decide_dependents(pool: Target, there: Dependents, options: DeleteOptions, now: datetime) -> Ending:
    """A verdict for everything that depends on the pool."""
    answered = bool(options.move_deployments_to or options.archive_deployments)
    going = {each.id for each in there.deployments if answered and not (options.archive_deployments and each.paused)}
    anew = [run for run in there.runs if run.deployment_id in going and run.is_made_anew(now)]
    runs = [run for run in there.runs if run not in anew]
    obstacles = [*_workers(pool, there, now)]
    verdicts = [*obstacles, *(_deployment(pool, each, options) for each in there.deployments)]
    verdicts += [_run(pool, run, options) for run in runs]
    verdicts += [_automation(id_, name, options) for id_, name in there.automations.items()]
    if not answered:
        obstacles += [each for each in verdicts if each.target.kind is Kind.DEPLOYMENT]
    if not options.cancel_runs:
        obstacles += [each for each in verdicts if each.target.kind is Kind.RUN]
    if not options.ignore_automations:
        obstacles += [each for each in verdicts if each.target.kind is Kind.AUTOMATION]
    words = "scheduled, and deleted by Prefect as its deployment changes; its schedule makes it anew where that goes on"
    return Ending(tuple(verdicts), tuple(obstacles), {words: len(anew)} if anew else {})


def still_needed(
    pool: Target, there: Dependents, options: DeleteOptions, archived: Collection[str], now: datetime
) -> str:
    """What depends on the pool after all that was decided is done, in words; "" where it can go."""
    stay = [each for each in there.deployments if not (each.paused and each.id in archived)]
    deployments = stay if options.archive_deployments else there.deployments
    remaining = Dependents(
        tuple(deployments), there.runs, there.workers, {} if options.ignore_automations else there.automations
    )
    return in_words(decide_dependents(pool, remaining, DeleteOptions(), now).obstacles)


def refusal(obstacles: Mapping[str, tuple[Verdict, ...]]) -> str:
    """Why pools are not deleted, by pool; "" where nothing stands in the way."""
    needed = [f"Work pool {name!r} is needed: {in_words(each)}." for name, each in obstacles.items() if each]
    kinds = {verdict.target.kind for each in obstacles.values() for verdict in each}
    ways = "; ".join(way for kind, way in WAYS_OUT.items() if kind in kinds)
    return f"{' '.join(needed)} Nothing was changed. To delete it, {ways}." if needed else ""


def in_words(obstacles: Collection[Verdict]) -> str:
    """`2 deployments (flow/a, flow/b), 1 run (owl)`."""
    parts = []
    for kind in WAYS_OUT:
        names = [each.target.name for each in obstacles if each.target.kind is kind]
        what = {Kind.RUN: "run not ended", Kind.WORKER: "online worker"}.get(kind, kind.value)
        count = f"{len(names)} runs not ended" if kind is Kind.RUN and len(names) > 1 else counted(len(names), what)
        parts += [f"{count} ({some_of(names)})"] if names else []
    return ", ".join(parts)


def _workers(pool: Target, there: Dependents, now: datetime) -> Iterator[Verdict]:
    for worker in there.workers:
        if worker.is_online(now):
            target = Target(Kind.WORKER, f"{pool.name}/{worker.name}", worker.id, pool=pool.name)
            yield Verdict(target, Verb.LEAVE, "it is online, and would make the work pool again: stop it first")


def _deployment(pool: Target, each: DeploymentFacts, options: DeleteOptions) -> Verdict:
    target = Target(Kind.DEPLOYMENT, each.name, each.id, pool=pool.name)
    numbers: dict[str, Number] = {"active_schedules": each.active_schedules}
    has = counted(each.active_schedules, "active schedule")
    if options.move_deployments_to:
        return Verdict(target, Verb.CHANGE, f"goes to work pool {options.move_deployments_to}; {has}", numbers)
    if not options.archive_deployments:
        return Verdict(target, Verb.LEAVE, f"it runs on this work pool; {has}", numbers)
    if each.paused:
        return Verdict(target, Verb.LEAVE, "paused already; archived, attached again when the work pool is restored")
    words = f"loses its work pool; archived, attached and resumed when that is restored; {has}"
    return Verdict(target, Verb.PAUSE, words, numbers)


def _run(pool: Target, run: DependentRun, options: DeleteOptions) -> Verdict:
    target = Target(Kind.RUN, run.name, run.id, pool=pool.name)
    waits = f", due {run.due_at:{MOMENT}} UTC" if run.state_type == "SCHEDULED" and run.due_at else ""
    words = f"has not ended: {run.state_name} since {run.since:{MOMENT}} UTC{waits}"
    return Verdict(target, Verb.CANCEL if options.cancel_runs else Verb.LEAVE, words)


def _automation(id_: str, name: str, options: DeleteOptions) -> Verdict:
    words = "it names the work pool" + (", and stays as it is" if options.ignore_automations else "")
    return Verdict(Target(Kind.AUTOMATION, name, id_), Verb.LEAVE, words)
