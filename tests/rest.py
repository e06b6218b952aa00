"""Things on a real server, made and read through its API as it is: what a test compares the project's view with."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx

Answer = TypeVar("Answer")
Row = dict[str, Any]


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid4().hex[:8]}"


def wait_for(ask: Callable[[], Answer], *, seconds: float = 60, what: str = "the condition") -> Answer:
    """Ask until the answer is true; what was last found instead where time is up.

    The time that an answer takes does not count: now and then a server on SQLite gives none for a minute.
    """
    waited = 0.0
    while not (answer := ask()):
        assert waited < seconds, f"waited {seconds} s for {what}; last found {answer!r}"
        time.sleep(0.2)
        waited += 0.2
    return answer


class Rest(httpx.Client):
    def __init__(self, url: str, **options: Any) -> None:
        # SQLite may keep a writer waiting for a minute before it gives way.
        super().__init__(base_url=url, timeout=180, **options)

    def request(self, *arguments: Any, **options: Any) -> httpx.Response:
        """Once more, where SQLite was busy."""
        for pause in (0.2, 0.5, 1, 2, 4):
            answer = super().request(*arguments, **options)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(pause)
        return answer

    def ask(self, path: str, **body: Any) -> Any:
        return self._json(self.post(path, json=body))

    def read(self, path: str) -> Any:
        return self._json(self.get(path))

    def pool(self, name: str, **fields: Any) -> Row:
        row: Row = self.ask("/work_pools/", name=name, **{"type": "process", "base_job_template": {}, **fields})
        return row

    def change_pool(self, name: str, **fields: Any) -> None:
        self.patch(f"/work_pools/{quote(name, safe='')}", json=fields).raise_for_status()

    def delete_pool(self, name: str) -> None:
        self.delete(f"/work_pools/{quote(name, safe='')}").raise_for_status()

    def worker(self, pool: str, name: str = "worker") -> None:
        path = f"/work_pools/{quote(pool, safe='')}/workers/heartbeat"
        self.post(path, json={"name": name, "heartbeat_interval_seconds": 3600}).raise_for_status()

    def deployment(self, pool: str | None, name: str = "", **fields: Any) -> Row:
        flow = self.ask("/flows/", name=unique("flow"))
        body = {"name": name or unique("deployment"), "flow_id": flow["id"], "work_pool_name": pool, **fields}
        row: Row = self.ask("/deployments/", **body)
        return row

    def run(self, deployment: Row, *states: str, due: timedelta = timedelta(0)) -> str:
        """A run that was due so long ago and then went through these state types."""
        at = (datetime.now(UTC) - due).isoformat()
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": at}}
        run = self.ask(f"/deployments/{deployment['id']}/create_flow_run", state=state)
        for kind in states:
            name = {"LATE": "Late"}.get(kind, kind.capitalize())
            moved = {
                "type": "SCHEDULED" if kind == "LATE" else kind,
                "name": name,
                "state_details": state["state_details"],
            }
            self.ask(f"/flow_runs/{run['id']}/set_state", state=moved, force=True)
        return str(run["id"])

    def latest(self, key: str) -> Row:
        """The newest artifact under a key; what the API calls the latest has the id of the key, not its own."""
        (row,) = self.ask("/artifacts/filter", artifacts={"key": {"any_": [key]}}, sort="CREATED_DESC", limit=1)
        return dict(row)

    def page(self, key: str) -> str:
        return str(self.latest(key)["data"])

    def table(self, key: str) -> list[Row]:
        rows: list[Row] = json.loads(self.latest(key)["data"])
        return rows

    def everything(self, path: str, **body: Any) -> list[Row]:
        rows: list[Row] = []
        while True:
            page = self.ask(path, **body, limit=200, offset=len(rows))
            rows += page
            if len(page) < 200:
                return rows

    def events(self, **query: Any) -> list[Row]:
        """All that there are of these, however many."""
        page = self.ask("/events/filter", filter=query, limit=50)
        found = list(page["events"])
        while page["next_page"]:
            page = self.read(page["next_page"])
            found += page["events"]
        return found

    @staticmethod
    def _json(answer: httpx.Response) -> Any:
        assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"
        return answer.json()
