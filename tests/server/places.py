"""Work pools that are archived, deleted and made again, and a process that dies in between."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest

from flows.policy.archive import Archive
from flows.prefect_api import Api
from flows.prefect_api.archive import archive_pool, read_archives
from tests.rest import Rest, Row, unique

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
REASON = "Idle for 30 days"
# Of a restored pool, these are other ones.
NEW = {"id", "created", "updated", "default_queue_id", "status"}
# Of a queue that was made again, these as well.
NEW_IN_QUEUE = {"id", "created", "updated", "work_pool_id", "status", "last_polled"}


class Place:
    """A work pool, its queues and its deployments."""

    def __init__(self, rest: Rest, name: str = "", **fields: Any) -> None:
        self.rest = rest
        self.name = unique(name or "archived")
        self.id = str(rest.pool(self.name, **fields)["id"])

    @property
    def path(self) -> str:
        return f"/work_pools/{quote(self.name, safe='')}"

    def queue(self, name: str, **fields: Any) -> Row:
        return dict(self.rest.ask(f"{self.path}/queues", name=name, **fields))

    def change_queue(self, queue: str, **fields: Any) -> None:
        self.rest.patch(f"{self.path}/queues/{quote(queue, safe='')}", json=fields).raise_for_status()

    def deployment(self, queue: str | None = None, **fields: Any) -> Row:
        return self.rest.deployment(self.name, work_queue_name=queue, **fields)

    def delete(self) -> None:
        self.rest.delete_pool(self.name)

    def delete_queue(self, name: str) -> None:
        self.rest.delete(f"{self.path}/queues/{quote(name, safe='')}").raise_for_status()

    def now(self) -> Row:
        """All of the pool that is to come back."""
        pool = self.rest.read(self.path)
        queues = self.rest.everything(f"{self.path}/queues/filter")
        return {
            "pool": {key: value for key, value in pool.items() if key not in NEW},
            "default": next(each["name"] for each in queues if each["id"] == pool["default_queue_id"]),
            "queues": {
                each["name"]: {key: value for key, value in each.items() if key not in NEW_IN_QUEUE} for each in queues
            },
        }

    def full_names(self, deployments: Collection[Row]) -> list[str]:
        """In the order in which they are listed."""
        flows = {each["id"]: self.rest.read(f"/flows/{each['flow_id']}")["name"] for each in deployments}
        return sorted(f"{flows[each['id']]}/{each['name']}" for each in deployments)

    def exists(self) -> bool:
        return self.rest.get(self.path).is_success

    async def archive(self, api: Api) -> str:
        return await archive_pool(api, self.name, reason=REASON, now=NOW)

    async def lose(self, api: Api) -> Archive:
        """What was archived before the pool was deleted."""
        kept = await self.archive(api)
        self.delete()
        return (await read_archives(api))[kept]


def where(rest: Rest, deployment: Row) -> tuple[str | None, str | None]:
    now = rest.read(f"/deployments/{deployment['id']}")
    return now["work_pool_name"], now["work_queue_name"]


class Killed(BaseException):
    """As a process ends that is killed: nothing that follows is done."""


def dies_before(
    monkeypatch: pytest.MonkeyPatch, api: Api | type[Api], writes: int, which: Callable[[str], bool] = lambda _: True
) -> list[str]:
    """Die before this write of those to such paths, of one connection or of all. What was written before that."""
    write, done = api.write, list[str]()

    async def counted(*arguments: Any, **more: Any) -> Any:
        method, path, *_ = arguments[1:] if isinstance(arguments[0], Api) else arguments
        if which(path):
            if len(done) == writes:
                raise Killed
            done.append(f"{method} {path}")
        return await write(*arguments, **more)

    monkeypatch.setattr(api, "write", counted)
    return done
