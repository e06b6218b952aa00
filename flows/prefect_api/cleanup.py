"""What a cleanup observes, kind by kind, and how what was decided is carried out."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from flows.policy.bad_input import BadInput
from flows.policy.cleanup.caps import Caps
from flows.policy.cleanup.decision import Decision, check_kinds, decide_cleanup, rule_of
from flows.policy.cleanup.detached import OrphanFacts
from flows.policy.cleanup.finished_runs import decide_finished_runs
from flows.policy.cleanup.idle_pools import decide_idle_pools
from flows.policy.cleanup.kinds import CleanupKind, Found, Scope
from flows.policy.cleanup.late_runs import decide_late_runs
from flows.policy.cleanup.orphans import decide_orphaned_deployments, decide_orphaned_runs
from flows.policy.cleanup.pace import Pace
from flows.policy.cleanup.retention import KEEP, Retention
from flows.policy.cleanup.stuck_runs import decide_stuck_runs
from flows.policy.cleanup.unused import decide_empty_queues, decide_offline_workers
from flows.policy.plan import ActionLimit, Kind, Outcome, Verdict
from flows.policy.selection import select_pools, select_remaining
from flows.prefect_api.archive import archive_pool, archive_queue
from flows.prefect_api.client import Api
from flows.prefect_api.deleting_runs import FinishedRuns
from flows.prefect_api.deployments import count_deployments
from flows.prefect_api.finished_runs import observe_finished_runs
from flows.prefect_api.flow_runs import count_runs
from flows.prefect_api.keeper import read_keeper
from flows.prefect_api.late_runs import LateRuns, observe_late_runs
from flows.prefect_api.ledger import complete_ledgers
from flows.prefect_api.orphans import OrphanedDeployments, OrphanedRuns, observe_orphans
from flows.prefect_api.stuck_runs import StuckRuns, observe_stuck_runs
from flows.prefect_api.unused import (
    EmptyQueues,
    IdlePools,
    OfflineWorkers,
    observe_idle_pools,
    observe_queues,
    observe_workers,
)
from flows.prefect_api.work_pools import read_pools


class Clearing(Protocol):
    """Carries out one rule's verdicts: reads each target again, and changes what is still as it was."""

    async def clear(self, verdicts: Sequence[Verdict]) -> Sequence[Outcome]: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """The parameters of the flow beside the pools."""

    kinds: Sequence[CleanupKind]
    retention: Retention
    caps: Caps
    limit: ActionLimit
    pace: Pace
    approval: Literal["none", "ask"]
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. `died` tells of earlier runs that died while they acted, and `there` how many pools and
    deployments there are."""

    scope: Scope
    settings: Settings
    there: Mapping[Kind, int]
    died: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind: what is observed (at most so much of it as may go), what decides, what carries it out."""

    observe: Callable[[Api, Scope, int], Awaitable[Any]]
    decide: Callable[[Any, Scope], Found]
    clearing: Callable[[Api, Scope, Any], Clearing]


async def _orphans(api: Api, scope: Scope, _most: int) -> OrphanFacts:
    return await observe_orphans(api, scope)


RULES: Mapping[CleanupKind, Rule] = {
    "finished-runs": Rule(
        lambda api, scope, most: observe_finished_runs(api, scope, most=most), decide_finished_runs, FinishedRuns
    ),
    "late-runs": Rule(lambda api, scope, _: observe_late_runs(api, scope), decide_late_runs, LateRuns),
    "stuck-runs": Rule(lambda api, scope, _: observe_stuck_runs(api, scope), decide_stuck_runs, StuckRuns),
    "orphaned-runs": Rule(_orphans, decide_orphaned_runs, OrphanedRuns),
    "orphaned-deployments": Rule(_orphans, decide_orphaned_deployments, OrphanedDeployments),
    "offline-workers": Rule(lambda api, scope, _: observe_workers(api, scope), decide_offline_workers, OfflineWorkers),
    "empty-queues": Rule(
        lambda api, scope, _: observe_queues(api, scope),
        decide_empty_queues,
        lambda api, scope, facts: EmptyQueues(api, scope, facts, archive_queue),
    ),
    "idle-pools": Rule(
        lambda api, scope, _: observe_idle_pools(api, scope),
        decide_idle_pools,
        lambda api, scope, facts: IdlePools(api, scope, facts, archive_pool),
    ),
}


async def open_question(api: Api, pools: Sequence[str], exclude: Sequence[str], settings: Settings) -> Question:
    """Everything to start from; `BadInput` where what is asked for cannot be meant."""
    check_kinds(settings.kinds)
    keeper = await read_keeper(api)
    every_pool = await read_pools(api)
    select = select_remaining if keeper.is_nudged else select_pools
    selection = select(pools, exclude, [pool.name for pool in every_pool])
    await _check_tags(api, settings.retention.keep_tags)
    chosen = frozenset(selection.names)
    selected = tuple(pool for pool in every_pool if pool.name in chosen)
    scope = Scope(selection, selected, settings.retention, keeper.protection, await api.server_time())
    there = {Kind.POOL: len(every_pool), Kind.DEPLOYMENT: await count_deployments(api, {})}
    return Question(scope, settings, there, await complete_ledgers(api))


async def observe_cleanup(api: Api, question: Question) -> Mapping[CleanupKind, Any]:
    """The facts of each kind that is asked for; none where no pool is selected."""
    if question.scope.selection.emptiness:
        return {}
    seen: dict[Any, Any] = {}
    facts: dict[CleanupKind, Any] = {}
    for kind, rule in RULES.items():
        if kind in question.settings.kinds:
            # Two kinds look at the same orphans.
            if rule.observe not in seen:
                seen[rule.observe] = await rule.observe(api, question.scope, question.settings.caps.of(kind))
            facts[kind] = seen[rule.observe]
    return facts


@dataclass(frozen=True, slots=True)
class Clearings:
    """Carries out a whole plan, each verdict as its own rule does it."""

    by_kind: Mapping[str, Clearing]

    async def act(self, verdicts: Sequence[Verdict]) -> Sequence[Outcome]:
        return await self.by_kind[rule_of(verdicts[0])].clear(verdicts)

    @property
    def task_runs(self) -> int:
        """How many task runs went with the runs that were deleted."""
        finished = self.by_kind.get("finished-runs")
        return finished.gone["task_runs"] if isinstance(finished, FinishedRuns) else 0


def decide(question: Question, facts: Mapping[CleanupKind, Any]) -> Decision:
    """What each rule makes of its facts, as one plan."""
    found = {kind: RULES[kind].decide(each, question.scope) for kind, each in facts.items()}
    settings = question.settings
    return decide_cleanup(found, settings.caps, settings.limit, question.there, question.scope.now)


def clearings(api: Api, question: Question, facts: Mapping[CleanupKind, Any]) -> Clearings:
    return Clearings({kind: RULES[kind].clearing(api, question.scope, each) for kind, each in facts.items()})


async def _check_tags(api: Api, tags: Sequence[str]) -> None:
    """Raise `BadInput` for a tag that protects nothing, because nothing has it."""
    for tag in tags:
        if tag == KEEP:
            continue
        tagged = {"tags": {"any_": [tag]}}
        if not (await count_runs(api, tagged) or await count_deployments(api, {"deployments": tagged})):
            raise BadInput(
                f"No flow run and no deployment has the tag {tag!r} (retention.keep_tags), so it protects nothing. "
                "Nothing was done. Correct it, or put it on what is to be kept first."
            )
