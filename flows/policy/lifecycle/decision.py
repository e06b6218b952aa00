"""What a person's hand does to each selected work pool, and to what belongs to it: the plan, and why it is refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flows.policy.archive import Archive, being_restored
from flows.policy.backlog import WaitingRun, drop_verdicts, to_drop
from flows.policy.dependents import Dependents, Ending, StillNeeded, decide_dependents, refusal
from flows.policy.facts import PoolFacts, RunFacts
from flows.policy.lifecycle.request import JOB, Hand
from flows.policy.lifecycle.step import MOMENT, Step, pool_target
from flows.policy.lifecycle.steps import next_step
from flows.policy.pause_note import half_done, read_deletion
from flows.policy.plan import ActionLimit, Kind, Plan, Target, UnsafePlan, Verb, Verdict
from flows.policy.protection import Protection
from flows.policy.words import counted

NOTHING = Dependents()


class NameTaken(UnsafePlan):
    """A work pool is to come back, and there is another one of its name. Nothing was done."""


@dataclass(frozen=True, slots=True)
class SeenPool:
    """A selected pool with what its action needs to know: `waiting` for a resume, `active` for a drain, `dependents`
    for a delete, `is_paused_anew` for the end of a pause."""

    pool: PoolFacts
    waiting: tuple[WaitingRun, ...] = ()
    active: tuple[RunFacts, ...] = ()
    dependents: Dependents = NOTHING
    is_paused_anew: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The plan, and what counts for its limit. `obstacles` are what depends on a pool that is to go, by pool."""

    plan: Plan
    limit: ActionLimit
    there: Mapping[Kind, int]
    obstacles: Mapping[str, tuple[Verdict, ...]] = field(default_factory=dict)
    taken: tuple[str, ...] = ()

    @property
    def refusal(self) -> str:
        """Why nothing of it is done; "" where it can be."""
        try:
            self.check()
        except UnsafePlan as refusal:
            return str(refusal)
        return ""

    def check(self) -> None:
        """Raise `UnsafePlan` where a pool is still needed, a name is taken, or the plan is about too many pools."""
        if words := refusal(self.obstacles):
            raise StillNeeded(words)
        if self.taken:
            raise NameTaken(" ".join(self.taken))
        pools = {verdict.target: verdict for verdict in self.plan.actions if verdict.target.kind is Kind.POOL}
        self.limit.check(Plan(JOB, tuple(pools.values())), self.there)


def decide_lifecycle(
    hand: Hand, pools: Sequence[SeenPool], protection: Protection, there: Mapping[Kind, int]
) -> Decision:
    """What becomes of the selected pools, by name."""
    verdicts: list[Verdict] = []
    left: dict[str, int] = {}
    obstacles: dict[str, tuple[Verdict, ...]] = {}
    for seen in sorted(pools, key=lambda each: each.pool.name):
        target = pool_target(seen.pool)
        if reason := protection.reason(target):
            verdicts.append(Verdict(target, Verb.LEAVE, reason))
            continue
        step = next_step(hand, seen.pool, is_paused_anew=seen.is_paused_anew)
        ending = _delete(hand, seen, step) if hand.request.action == "delete" else Ending(_others(hand, seen, step))
        verdicts += ending.verdicts
        obstacles[seen.pool.name] = ending.obstacles
        left = {words: left.get(words, 0) + ending.left.get(words, 0) for words in {**left, **ending.left}}
    # All are paused before the first is waited for.
    verdicts.sort(key=lambda verdict: verdict.verb is Verb.DRAIN)
    return Decision(Plan(JOB, tuple(verdicts), left), hand.request.limit, there, obstacles)


def decide_restore(
    hand: Hand, archives: Mapping[str, Archive], pools: Mapping[str, PoolFacts], protection: Protection,
    there: Mapping[Kind, int],
) -> Decision:  # fmt: skip
    """What becomes of the names that are to come back: of `archives` the newest of each, `pools` that are there."""
    verdicts: list[Verdict] = []
    taken: list[str] = []
    for name in sorted(archives.keys() | pools.keys()):
        archive, pool = archives.get(name), pools.get(name)
        deletion = read_deletion(pool.description) if pool else None
        if pool is not None and deletion is not None:
            verdicts.append(_restored(pool.id, name, f"its deletion is undone: {deletion.words}", hand))
        elif archive is not None and archive.pool_fields is not None:
            words = f"archived {archive.archived_at:{MOMENT}} UTC ({archive.reason})"
            verdicts.append(_restored(archive.pool_fields.id, name, words, hand))
            if pool is not None and not being_restored(archive, pool.description):
                taken.append(archive.taken)
        elif pool is not None:
            verdicts.append(Verdict(pool_target(pool), Verb.LEAVE, "nothing is archived of it"))
    protected = [
        Verdict(each.target, Verb.LEAVE, reason) if (reason := protection.reason(each.target)) else each
        for each in verdicts
    ]
    return Decision(Plan(JOB, tuple(protected)), hand.request.limit, there, taken=tuple(taken))


def _restored(id_: str, name: str, words: str, hand: Hand) -> Verdict:
    target = Target(Kind.POOL, name, id_, pool=name)
    return Verdict(target, Verb.RESTORE, f"{words}; {hand.why}", {"actor": hand.by})


def _others(hand: Hand, seen: SeenPool, step: Step) -> tuple[Verdict, ...]:
    own, target = step.verdict(seen.pool), pool_target(seen.pool)
    if step.verb is Verb.RESUME:
        policy = hand.request.backlog
        # They go first, so that they are gone when what held them back is resumed.
        return (*drop_verdicts(target, to_drop(seen.waiting, policy), policy), own)
    if hand.request.action != "drain" or half_done(seen.pool.description):
        return (own,)
    number = len(seen.active)
    words = f"{counted(number, 'run')} to end, {hand.request.wait_minutes:g} min at most; {hand.why}"
    drained = Verdict(target, Verb.DRAIN, words, {"actor": hand.by, "runs": number})
    return (own, drained) if step.verb is not Verb.LEAVE else (drained,)


def _delete(hand: Hand, seen: SeenPool, step: Step) -> Ending:
    own, target = step.verdict(seen.pool), pool_target(seen.pool)
    if step.verb is Verb.LEAVE and read_deletion(seen.pool.description) is None:
        return Ending((own,))
    ending = decide_dependents(target, seen.dependents, hand.request.delete, hand.now)
    first = (own,) if step.verb is not Verb.LEAVE else ()
    words = f"archived, and deleted once nothing depends on it; {hand.why}"
    last = Verdict(target, Verb.DELETE, words, {"actor": hand.by})
    return Ending((*first, *ending.verdicts, last), ending.obstacles, ending.left)
