"""How fast a cleanup goes, and for how long."""

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field


class Pace(BaseModel):
    """How much a cleanup may ask of the server, and when it stops."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    actions_per_second: float = Field(
        default=1000,
        gt=0,
        le=100_000,
        title="Actions per second",
        description="Go no faster than this. A server of its own deletes a few hundred runs in a second.",
    )
    budget_minutes: float = Field(
        default=60,
        gt=0,
        le=1440,
        title="Budget (minutes)",
        description="Begin nothing more after this many minutes. What is left is reported, and done next time.",
    )
    plan_hours: float = Field(
        default=24,
        gt=0,
        le=168,
        title="Plan is good for (hours)",
        description="A plan that waits for approval longer than this is not applied.",
    )

    @property
    def budget(self) -> timedelta:
        return timedelta(minutes=self.budget_minutes)

    @property
    def longest_wait(self) -> timedelta:
        return timedelta(hours=self.plan_hours)

    def due_after(self, actions: int) -> timedelta:
        """How long so many actions take at least."""
        return timedelta(seconds=actions / self.actions_per_second)
