"""Work pools whose runs ended long ago, and pool-cleanup to look at them."""

import os
import random
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from prefect.flows import load_flow_from_entrypoint

from tests.database import FORMAT, copies, database, undeletable
from tests.processes import flow_process
from tests.rest import Rest, Row, unique

ROOT = Path(__file__).resolve().parents[2]
KEEP_NONE = {"keep_last": 0, "keep_latest_failure": False}


@cache
def cleanup() -> Any:
    """The flow as a run loads it."""
    return load_flow_from_entrypoint(str(ROOT / "flows/cleanup.py:cleanup"), use_placeholder_flow=False)


class Attic:
    """A work pool with a deployment, and what is left behind in it."""

    def __init__(self, rest: Rest, environment: Mapping[str, str]) -> None:
        self.rest, self.environment = rest, environment
        self.home = Path(environment["PREFECT_HOME"])
        self.pool = unique("attic")
        rest.pool(self.pool)
        self.deployment = rest.deployment(self.pool)

    def old(self, number: int = 1, *states: str, days: float = 40, of: Row | None = None, **columns: Any) -> list[str]:
        """Runs that went through these states (none: they completed) and ended so many days ago, the oldest first."""
        first = self.rest.run(of or self.deployment, *(states or ("RUNNING", "COMPLETED")))
        name = unique("run")
        self._set("id = ?", first, name=name, **columns)
        copies(self.home, first, number - 1)
        with database(self.home) as connection:
            ids = [str(row[0]) for row in connection.execute("SELECT id FROM flow_run WHERE name = ?", (name,))]
            random.Random(0).shuffle(ids)
            end = datetime.now(UTC) - timedelta(days=days)
            times = [((end + timedelta(seconds=place)).strftime(FORMAT), each) for place, each in enumerate(ids)]
            connection.executemany("UPDATE flow_run SET end_time = ? WHERE id = ?", times)
        return ids

    def _set(self, where: str, value: str, **columns: Any) -> None:
        with database(self.home) as connection:
            sql = f"UPDATE flow_run SET {', '.join(f'{name} = ?' for name in columns)} WHERE {where}"  # noqa: S608
            connection.execute(sql, (*columns.values(), value))

    def count(self) -> int:
        return int(self.rest.ask("/flow_runs/count", work_pools={"name": {"any_": [self.pool]}}))

    def there(self, ids: list[str]) -> set[str]:
        rows = [
            self.rest.ask("/flow_runs/filter", flow_runs={"id": {"any_": ids[at : at + 200]}})
            for at in range(0, len(ids), 200)
        ]
        return {row["id"] for page in rows for row in page}

    @contextmanager
    def undeletable(self, run: str) -> Iterator[None]:
        with undeletable(self.home, run):
            yield

    def parameters(self, **changed: Any) -> dict[str, Any]:
        retention = KEEP_NONE | changed.pop("retention", {})
        usual = {"pools": [self.pool], "kinds": ["finished-runs"], "dry_run": False, "retention": retention}
        return usual | changed

    async def sweep(self, **changed: Any) -> Any:
        return await cleanup()(**self.parameters(**changed), return_state=True)

    def rows(self) -> list[Row]:
        return self.rest.table(f"pool-cleanup-{self.pool}-table")

    def outcomes(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for row in self.rows():
            found[row["outcome"]] = found.get(row["outcome"], 0) + 1
        return found

    def page(self) -> str:
        return self.rest.page(f"pool-cleanup-{self.pool}").replace("\\", "")

    def in_a_process(self, parameters: Mapping[str, Any]) -> "subprocess.Popen[str]":
        """The flow in a process of its own, which a test may kill."""
        return flow_process("cleanup", parameters, {**os.environ, **self.environment})

    def runs_of_cleanup(self) -> list[Row]:
        """The flow runs that were about this pool, the newest first."""
        rows = self.rest.ask("/flow_runs/filter", sort="START_TIME_DESC", limit=50)
        return [row for row in rows if row["parameters"].get("pools") == [self.pool]]
