"""How something that was paused comes back."""

from datetime import timedelta
from hashlib import sha256
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Backlog = Literal["keep", "latest", "drop"]

# Pauses that began together do not all end at the same moment: each lasts up to this share longer.
JITTER = 0.1
# More doublings than any cap needs, and few enough for a float.
MOST_BACKOFFS = 50


class Recovery(BaseModel):
    """Cooldown, then a few probe runs, then back to normal or paused again for longer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cooldown_minutes: float = Field(
        default=10,
        gt=0,
        le=10080,
        title="Cooldown (minutes)",
        description="How many minutes something stays paused before a few runs may try again.",
    )
    backoff: float = Field(
        default=2.0,
        ge=1,
        le=10,
        title="Backoff",
        description="Each time the probe runs fail again, the cooldown is multiplied by this (1 to 10; 1 keeps it).",
    )
    max_cooldown_minutes: float = Field(
        default=360,
        gt=0,
        le=10080,
        title="Longest cooldown (minutes)",
        description="No cooldown grows beyond this many minutes.",
    )
    probe_runs: int = Field(
        default=3,
        ge=1,
        le=1000,
        title="Probe runs",
        description="So many runs must end before it is decided whether all is well again. 1 lets a single one decide.",
    )
    probe_limit: int = Field(
        default=1,
        ge=1,
        title="Probe limit",
        description="The work pool's concurrency limit while the probe runs try. The former limit comes back after.",
    )
    backlog: Backlog = Field(
        default="keep",
        title="Backlog",
        description="What becomes of runs that were due during the pause. keep: all start later. latest: only the "
        "newest of each deployment. drop: none. Only runs made by schedules are ever cancelled, never one that a "
        "person made, or that is being retried or resumed.",
    )

    def cooldown(self, reopened: int, lease: str) -> timedelta:
        """How long the pause lasts that has been prolonged so many times; the same for the same lease."""
        cap = max(self.cooldown_minutes, self.max_cooldown_minutes)
        length = min(cap, self.cooldown_minutes * self.backoff ** min(reopened, MOST_BACKOFFS))
        fraction = int.from_bytes(sha256(f"{lease}.{reopened}".encode()).digest()[:4]) / 2**32
        return timedelta(minutes=min(cap, length * (1 + JITTER * fraction)))
