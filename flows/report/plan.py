"""A plan and what became of it, as the rows and the sentence that every acting job shows."""

from collections import Counter
from collections.abc import Callable, Sequence

from flows.policy.plan import Outcome, Plan, Result, Verdict
from flows.policy.words import counted
from flows.report.page import Row


def nothing_more(_: Verdict) -> Row:
    return {}


def plan_rows(
    plan: Plan, outcomes: Sequence[Outcome], more: Callable[[Verdict], Row] = nothing_more
) -> tuple[Row, ...]:
    """A row for every verdict; the outcome is empty where the verb is `leave`. `more` are a job's own columns."""
    became = {(outcome.verdict.target, outcome.verdict.verb): outcome for outcome in outcomes}
    rows = []
    for verdict in plan.verdicts:
        outcome = became.get((verdict.target, verdict.verb))
        detail = f" ({outcome.detail})" if outcome and outcome.detail else ""
        rows.append(
            {
                "kind": verdict.target.kind.value,
                "target": verdict.target.name,
                "id": (outcome.made_id if outcome else "") or verdict.target.id,
                "verb": verdict.verb.value,
                "reason": verdict.reason + detail,
                "outcome": outcome.result.value if outcome else "",
                **more(verdict),
            }
        )
    return tuple(rows)


def balance(outcomes: Sequence[Outcome]) -> str:
    """How many actions there were and what became of them; the parts always add up."""
    counts = Counter(outcome.result for outcome in outcomes)
    parts = [f"{counts[result]} {result}" for result in Result if counts[result]]
    return counted(len(outcomes), "action") + (f": {', '.join(parts)}" if parts else "")
