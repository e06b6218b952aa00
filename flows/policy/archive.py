"""What is kept of a work pool or work queue that was deleted: all that it takes to make it again."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from flows.policy.bad_input import BadInput
from flows.policy.lease import BETWEEN


class ArchivedQueue(BaseModel):
    """A work queue. `deployments` are the ids of those that were attached to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str
    description: str | None
    is_paused: bool
    concurrency_limit: int | None
    priority: int
    is_default: bool = False
    deployments: list[str] = []


class ArchivedPool(BaseModel):
    """A work pool. Its base job template may hold secrets: it is kept where Prefect keeps those."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str
    type: str
    description: str | None
    is_paused: bool
    concurrency_limit: int | None
    base_job_template: dict[str, Any] = Field(repr=False)
    storage_configuration: dict[str, Any] = Field(repr=False)


class Archive(BaseModel):
    """What was deleted: a work pool with all its queues, or one queue of a pool that stays (`pool_fields` None).

    `deletion` is the tag of the note of the deletion that it belongs to, where that was by hand. `unpause` are the ids
    of deployments that were paused with it, `moved_to` names the pool that the others went to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    pool: str
    pool_fields: ArchivedPool | None
    queues: list[ArchivedQueue]
    archived_at: datetime
    reason: str
    deletion: str = ""
    unpause: list[str] = []
    moved_to: str = ""

    @property
    def shown(self) -> str:
        """What it is of, as a target's name."""
        return self.pool if self.pool_fields else f"{self.pool}/{self.queues[0].name}"

    @property
    def deployments(self) -> set[str]:
        """The ids of all deployments that were attached to it."""
        return {each for queue in self.queues for each in queue.deployments}

    @property
    def when(self) -> str:
        return f"The archive of {self.shown!r} was made {self.archived_at:%Y-%m-%d %H:%M} UTC"

    @property
    def taken(self) -> str:
        """Why a pool cannot be made again while there is another one of its name."""
        return (
            f"{self.when}, and there is a work pool named {self.pool!r} again. Nothing was changed. "
            "Delete or empty that one first, if the archived one is to come back."
        )

    def joined_with(self, earlier: "Archive") -> "Archive":
        """This, with what an earlier attempt at the same deletion has archived and changed already."""
        queued = {each: queue.id for queue in earlier.queues for each in queue.deployments}
        gone = queued.keys() - self.deployments
        queues = [
            queue.model_copy(
                update={"deployments": queue.deployments + sorted(each for each in gone if queued[each] == queue.id)}
            )
            for queue in self.queues
        ]
        unpause = sorted({*self.unpause, *earlier.unpause})
        moved_to = self.moved_to or earlier.moved_to
        return self.model_copy(update={"queues": queues, "unpause": unpause, "moved_to": moved_to})

    def note(self, description: str | None) -> str:
        """The description with a note in front that it is being restored from this archive."""
        note = f"[Poolkeeper: being restored from the archive of {self.archived_at.isoformat()}]"
        return note if description is None else note + BETWEEN + description


def being_restored(archive: Archive, description: str | None) -> bool:
    """Whether a restore from this archive was begun, of what has this description."""
    return (description or "").startswith(archive.note(None))


def choose(name: str, archives: Mapping[str, Archive]) -> Archive:
    """The archive of that name; `BadInput` names the nearest where there is none."""
    if name in archives:
        return archives[name]
    nearest = get_close_matches(name, archives, n=1, cutoff=0)
    hint = f" The nearest name is {nearest[0]!r}." if nearest else ""
    raise BadInput(f"Nothing is archived as {name!r}; there are {len(archives)} archives.{hint} Nothing was changed.")


def check_restorable(archive: Archive, pools: Sequence[str], queues: Sequence[str]) -> None:
    """Raise `BadInput` where the archive's pool or queue cannot be made: among these `pools` of the server, and
    `queues` of its pool. Those that a restore from it has begun are not among them."""
    when = archive.when
    if archive.pool_fields and archive.pool in pools:
        raise BadInput(archive.taken)
    if archive.pool_fields is None and archive.pool not in pools:
        raise BadInput(f"{when}, but its work pool {archive.pool!r} is gone. Nothing was changed. Restore that first.")
    if archive.pool_fields is None and archive.queues[0].name in queues:
        raise BadInput(f"{when}, and there is a work queue of that name again. Nothing was changed.")


def newest_by_pool(archives: Mapping[str, Archive]) -> dict[str, Archive]:
    """Of the archives of whole work pools the newest of each name."""
    found: dict[str, Archive] = {}
    for archive in sorted(archives.values(), key=lambda each: each.archived_at):
        if archive.pool_fields is not None:
            found[archive.pool] = archive
    return found
