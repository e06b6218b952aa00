"""For how long what is left behind is kept."""

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

# A tag that need not be on anything: it is there to be used.
KEEP = "keep"


class Retention(BaseModel):
    """What is kept, and for how long. Longer never deletes more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    finished_days: float = Field(
        default=30,
        gt=0,
        le=36500,
        title="Finished runs (days)",
        description="Runs that ended longer ago than this many days are deleted.",
    )
    keep_last: int = Field(
        default=10,
        ge=0,
        title="Keep the last",
        description="Of each deployment, this many of the runs that ended last are kept however old they are.",
    )
    keep_latest_failure: bool = Field(
        default=True,
        title="Keep the latest failure",
        description="Of each deployment, the run that failed or crashed last is kept however old it is.",
    )
    keep_tags: list[str] = Field(
        default=[KEEP],
        title="Keep tags",
        description="Runs with one of these tags are never deleted, cancelled or crashed. "
        f"Each must be on some run or deployment ({KEEP} need not be): a slip of the pen would protect nothing.",
    )
    late_hours: float = Field(
        default=24,
        gt=0,
        le=876000,
        title="Late runs (hours)",
        description="Of the scheduled runs of a deployment that are late by more than this many hours, all but the "
        "newest are cancelled.",
    )
    stuck_minutes: float = Field(
        default=60,
        gt=0,
        le=525600,
        title="Stuck runs (minutes)",
        description="Runs that are pending, cancelling or without heartbeat for longer than this many minutes are "
        "crashed where their worker is offline as well.",
    )
    offline_worker_hours: float = Field(
        default=24,
        gt=0,
        le=876000,
        title="Offline workers (hours)",
        description="Workers that gave no sign of life for this many hours are deleted.",
    )
    idle_days: float = Field(
        default=30,
        gt=0,
        le=36500,
        title="Idle work pools (days)",
        description="Work pools without deployments, workers and runs for this many days are marked as idle.",
    )
    grace_days: float = Field(
        default=7,
        gt=0,
        le=36500,
        title="Grace (days)",
        description="Work pools that are still idle this many days after they were marked are deleted.",
    )

    @property
    def finished(self) -> timedelta:
        return timedelta(days=self.finished_days)

    @property
    def late(self) -> timedelta:
        return timedelta(hours=self.late_hours)

    @property
    def stuck(self) -> timedelta:
        return timedelta(minutes=self.stuck_minutes)

    @property
    def offline_worker(self) -> timedelta:
        return timedelta(hours=self.offline_worker_hours)

    @property
    def idle(self) -> timedelta:
        return timedelta(days=self.idle_days)

    @property
    def grace(self) -> timedelta:
        return timedelta(days=self.grace_days)
