"""What no job may ever touch: the keeper's own pool, its own deployments, and the run that is deciding."""

from dataclasses import dataclass

from flows.policy.plan import Kind, Plan, Target, Verb


class ProtectedTarget(Exception):
    """A plan holds an action on something protected. That is a fault in the rule that made it; nothing was done."""


@dataclass(frozen=True, slots=True)
class Protection:
    """`pools` by name with all that is in them; deployments and runs by id."""

    pools: frozenset[str] = frozenset()
    deployment_ids: frozenset[str] = frozenset()
    run_ids: frozenset[str] = frozenset()

    def reason(self, target: Target) -> str | None:
        """Why the target is protected, or None where it is not."""
        pool = target.name if target.kind is Kind.POOL else target.pool
        if pool in self.pools:
            return f"work pool {pool!r} runs Poolkeeper itself"
        if target.kind is Kind.DEPLOYMENT and target.id in self.deployment_ids:
            return f"deployment {target.name!r} is Poolkeeper's own"
        if target.kind is Kind.RUN and target.id in self.run_ids:
            return f"flow run {target.name!r} is the one that decides this"
        return None

    def check(self, plan: Plan) -> None:
        """Raise `ProtectedTarget` where an action of the plan would change something protected."""
        for verdict in plan.verdicts:
            reason = self.reason(verdict.target)
            if verdict.verb is not Verb.LEAVE and reason is not None:
                raise ProtectedTarget(
                    f"{plan.job} wanted to {verdict.verb} {verdict.target.kind} {verdict.target.name!r}, but {reason}. "
                    "Nothing was done. Please report this: a rule must leave protected targets alone."
                )
