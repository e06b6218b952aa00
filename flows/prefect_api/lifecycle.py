"""What pool-lifecycle observes: the work pools that were asked for, and what its action needs to know of them."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from flows.policy.archive import Archive, choose, newest_by_pool
from flows.policy.bad_input import BadInput
from flows.policy.facts import PoolFacts
from flows.policy.lifecycle.decision import Decision, SeenPool, decide_lifecycle, decide_restore
from flows.policy.lifecycle.request import LONGEST_ACTOR, NOBODY_NAMED, Hand, Request
from flows.policy.lifecycle.step import pool_target
from flows.policy.pause_note import half_done, read_pause
from flows.policy.plan import Kind
from flows.policy.protection import Protection
from flows.policy.selection import WILDCARDS, Selection, select_pools, select_remaining
from flows.policy.words import one_line
from flows.prefect_api.archive import read_archives
from flows.prefect_api.by_hand import ENDS_PAUSE
from flows.prefect_api.client import Api
from flows.prefect_api.dependents import observe_dependents
from flows.prefect_api.flow_runs import ACTIVE, in_states, read_runs
from flows.prefect_api.keeper import Keeper, read_keeper
from flows.prefect_api.touches import is_paused_anew, wait_for_events
from flows.prefect_api.waiting import read_waiting
from flows.prefect_api.work_pools import read_pools


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: which pools, by whom, and what is never touched. `archives` are the newest by name, where they
    are to come back; `pools` of those that are there."""

    hand: Hand
    selection: Selection
    pools: tuple[PoolFacts, ...]
    protection: Protection
    there: Mapping[Kind, int]
    deployment_id: str | None
    archives: Mapping[str, Archive] = field(default_factory=dict)

    def decide(self, seen: Sequence[SeenPool]) -> Decision:
        if self.hand.request.action == "restore":
            pools = {pool.name: pool for pool in self.pools}
            return decide_restore(self.hand, self.archives, pools, self.protection, self.there)
        return decide_lifecycle(self.hand, seen, self.protection, self.there)


async def open_question(api: Api, request: Request) -> Question:
    """Everything to start from; `BadInput` where what is asked for cannot be meant."""
    request.check()
    keeper = await read_keeper(api)
    every_pool = await read_pools(api)
    archives = newest_by_pool(await read_archives(api)) if request.action in ("delete", "restore") else {}
    selection = _select(request, keeper, every_pool, archives)
    chosen = frozenset(selection.names)
    pools = tuple(pool for pool in every_pool if pool.name in chosen)
    _check(request, keeper, selection, pools, every_pool)
    return Question(
        hand=Hand(request, _by(request, keeper), await api.server_time(), keeper.run_id, _booked(keeper)),
        selection=selection,
        pools=pools,
        protection=keeper.protection,
        there={Kind.POOL: len(every_pool)},
        deployment_id=keeper.deployments.get("lifecycle"),
        archives={name: each for name, each in archives.items() if name in chosen and request.action == "restore"},
    )


async def observe_lifecycle(api: Api, question: Question) -> tuple[SeenPool, ...]:
    """Each selected pool, with what its action needs to know."""
    return tuple(await asyncio.gather(*(_see(api, question, pool) for pool in question.pools)))


async def _see(api: Api, question: Question, pool: PoolFacts) -> SeenPool:
    hand, seen, target = question.hand, SeenPool(pool), pool_target(pool)
    if question.protection.reason(target):
        return seen
    if hand.booked and pool.is_paused:
        seen = replace(seen, is_paused_anew=await _is_paused_anew(api, hand, pool))
    if hand.request.action == "resume" and hand.request.backlog != "keep" and pool.is_paused:
        return replace(seen, waiting=tuple(await read_waiting(api, target, hand.now)))
    if hand.request.action == "drain":
        return replace(seen, active=tuple(await read_runs(api, in_states(*ACTIVE), [pool.name])))
    if hand.request.action == "delete":
        return replace(seen, dependents=await observe_dependents(api, pool))
    return seen


async def _is_paused_anew(api: Api, hand: Hand, pool: PoolFacts) -> bool:
    """Whether a person paused the pool again since the pause that is to end; what they did last may not be told yet."""
    note = read_pause(pool.description)
    if note is None or note.tag != hand.booked or note.since is None:
        return False
    await wait_for_events(pool.updated_at, hand.now)
    return await is_paused_anew(api, pool_target(pool), note.since, note.tag)


def _select(
    request: Request, keeper: Keeper, every_pool: Sequence[PoolFacts], archives: Mapping[str, Archive]
) -> Selection:
    names = [pool.name for pool in every_pool]
    is_plain = WILDCARDS.isdisjoint(request.pool)
    if request.action == "restore":
        begun = {pool.name for pool in every_pool if half_done(pool.description)}
        if is_plain and request.pool not in begun:
            choose(request.pool, archives)
        return select_pools([request.pool], [], sorted(archives.keys() | begun), parameter="pool")
    gone = archives.get(request.pool)
    if gone is not None and gone.deletion and request.pool not in names:
        words = f"Work pool {request.pool!r} was deleted before ({gone.reason}), and is archived. Nothing to do."
        return Selection((), narrowed_to=request.pool, emptiness=words)
    if keeper.is_nudged:
        return select_remaining([request.pool], [], names)
    return select_pools([request.pool], [], names, parameter="pool")


def _check(
    request: Request, keeper: Keeper, selection: Selection, pools: Sequence[PoolFacts], every_pool: Sequence[PoolFacts]
) -> None:
    """Raise `BadInput` for what can never be done."""
    for pool in pools:
        if pool.name == selection.narrowed_to and (reason := keeper.protection.reason(pool_target(pool))):
            raise BadInput(f"This is never done: {reason}. Nothing was done. Use Prefect's own pages for it.")
    if request.expires_minutes is not None and "lifecycle" not in keeper.deployments:
        raise BadInput(
            "A pause that ends by itself (expires_minutes) is ended by a run of the deployment "
            "'pool-lifecycle/management', and there is none. Nothing was done. Run 'poolkeeper deploy' first."
        )
    if request.delete.move_deployments_to:
        _check_move(request.delete.move_deployments_to, keeper, pools, every_pool)


def _check_move(to: str, keeper: Keeper, pools: Sequence[PoolFacts], every_pool: Sequence[PoolFacts]) -> None:
    """Raise `BadInput` where deployments cannot be moved to the pool of that name."""
    names = [pool.name for pool in every_pool]
    if to not in names:
        select_pools([to], [], names, parameter="delete.move_deployments_to")
    target = next((pool for pool in every_pool if pool.name == to), None)
    words = ""
    if target is None:
        words = "it is a pattern, and has to be a name"
    elif reason := keeper.protection.reason(pool_target(target)):
        words = reason
    elif to in [pool.name for pool in pools]:
        words = "it is to be deleted itself"
    elif half_done(target.description):
        words = half_done(target.description)
    elif others := sorted({pool.type for pool in pools} - {target.type}):
        words = f"it is of type {target.type!r}, and they come from {others[0]!r}"
    if words:
        raise BadInput(
            f"Deployments cannot be moved to {to!r} (delete.move_deployments_to): {words}. Nothing was done."
        )


def _by(request: Request, keeper: Keeper) -> str:
    return one_line(request.actor) or one_line(keeper.started_by)[:LONGEST_ACTOR] or NOBODY_NAMED


def _booked(keeper: Keeper) -> str:
    return next((tag.removeprefix(ENDS_PAUSE) for tag in keeper.tags if tag.startswith(ENDS_PAUSE)), "")
