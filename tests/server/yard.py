"""Work pools that a spec looks after, and pool-reconcile to look at them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from prefect.flows import load_flow_from_entrypoint

from flows.policy.plan import Outcome, Result
from flows.policy.reconcile.decision import Decision, decide_reconcile
from flows.policy.reconcile.problems import check_spec
from flows.prefect_api import connect
from flows.prefect_api.reconcile import keep_memory, observe_reconcile
from flows.prefect_api.reconciling import Reconciling
from flows.spec_file import read_spec
from tests.rest import Rest, Row, unique

ROOT = Path(__file__).resolve().parents[2]
# Of a pool or queue, what is none of a spec's business.
OTHER = {"created", "updated", "status", "last_polled", "active_slots"}


@cache
def reconcile() -> Any:
    """The flow as a run loads it."""
    return load_flow_from_entrypoint(str(ROOT / "flows/reconcile.py:reconcile"), use_placeholder_flow=False)


@dataclass(frozen=True, slots=True)
class Brought:
    """What was decided and what became of it."""

    decision: Decision
    outcomes: list[Outcome]

    @property
    def reasons(self) -> dict[str, str]:
        return {each.target.name: each.reason for each in self.decision.plan.verdicts}

    @property
    def became(self) -> dict[str, tuple[Result, str]]:
        return {each.verdict.target.name: (each.result, each.detail) for each in self.outcomes}


class Yard:
    """A spec in a file of its own, and the work pools that are named in it."""

    def __init__(self, rest: Rest, folder: Path) -> None:
        self.rest, self.path = rest, folder / "pools.yaml"
        self.named: list[str] = []

    def name(self, prefix: str = "yard") -> str:
        """A name that nobody else has; its pool goes when the test is over."""
        self.named.append(unique(prefix))
        return self.named[-1]

    def pool(self, name: str = "", **fields: Any) -> str:
        name = name or self.name()
        self.rest.pool(name, **fields)
        return name

    def write(self, *pools: dict[str, Any], **more: Any) -> None:
        self.path.write_text(yaml.safe_dump({"version": 1, **more, "pools": list(pools)}, sort_keys=False))

    async def run(self, *pools: dict[str, Any], **parameters: Any) -> Any:
        """The end of a run; with pools, after these were written into the spec."""
        if pools:
            self.write(*pools)
        usual = {"spec": str(self.path), "dry_run": False, "limit": {"max_actions": 200, "max_share": 1.0}}
        return await reconcile()(**usual | parameters, return_state=True)

    async def bring(
        self, *pools: dict[str, Any], prune: bool = False, between: Callable[[], None] = lambda: None, **more: Any
    ) -> "Brought":
        """What a run plans and does, without the flow around it, which takes a second each; `between` happens after
        the plan was made."""
        if pools:
            self.write(*pools, **more)
        written = read_spec(str(self.path))
        async with connect() as api:
            facts = await observe_reconcile(api, written.spec, written.path, prune=prune)
            written.check(check_spec(facts))
            decision = decide_reconcile(facts)
            facts.protection.check(decision.plan)
            between()
            reconciling = Reconciling(api, facts, decision)
            outcomes = [each for action in decision.plan.actions for each in await reconciling.act([action])]
            await keep_memory(api, facts, dry_run=False)
        return Brought(decision, outcomes)

    def rows(self) -> list[Row]:
        return self.rest.table("pool-reconcile-table")

    def verbs(self) -> dict[str, tuple[str, str]]:
        """Verb and outcome of this yard's targets."""
        return {
            row["target"]: (row["verb"], row["outcome"])
            for row in self.rows()
            if row["target"].partition("/")[0] in self.named
        }

    def reasons(self) -> dict[str, str]:
        return {row["target"]: row["reason"] for row in self.rows() if row["target"].partition("/")[0] in self.named}

    def page(self) -> str:
        return self.rest.page("pool-reconcile").replace("\\", "")

    def there(self, name: str) -> Row:
        """A work pool with its queues by name, as far as a spec can say something about it."""
        path = f"/work_pools/{quote(name, safe='')}"
        pool = self.rest.read(path)
        queues = self.rest.everything(f"{path}/queues/filter")
        pool = {key: value for key, value in pool.items() if key not in OTHER}
        return pool | {
            "queues": {each["name"]: {key: each[key] for key in each.keys() - OTHER} for each in queues},
        }

    def queue(self, pool: str, name: str, **fields: Any) -> Row:
        return dict(self.rest.ask(f"/work_pools/{quote(pool, safe='')}/queues", name=name, **fields))

    def change_queue(self, pool: str, queue: str, **fields: Any) -> None:
        path = f"/work_pools/{quote(pool, safe='')}/queues/{quote(queue, safe='')}"
        self.rest.patch(path, json=fields).raise_for_status()

    def exists(self, name: str) -> bool:
        return self.rest.get(f"/work_pools/{quote(name, safe='')}").is_success

    def created(self) -> dict[str, Row]:
        """What is remembered of this yard's pools, by name."""
        rows = self.rest.everything("/variables/filter", variables={"name": {"like_": "poolkeeper_created"}})
        return {row["value"]["pool"]: row["value"] for row in rows if row["value"]["pool"] in self.named}

    def events(self, name: str, event: str) -> list[Row]:
        query = {"event": {"name": [event]}, "order": "DESC"}
        found = self.rest.ask("/events/filter", filter=query, limit=50)["events"]
        return [each for each in found if each["resource"]["prefect.resource.name"] == name]

    def touched_at(self, name: str) -> list[str]:
        """When a work pool and its queues were last written."""
        path = f"/work_pools/{quote(name, safe='')}"
        queues = self.rest.everything(f"{path}/queues/filter")
        return [self.rest.read(path)["updated"], *(each["updated"] for each in queues)]

    def clear(self) -> None:
        for name in self.named:
            self.rest.delete(f"/work_pools/{quote(name, safe='')}")
        for created in self.rest.everything("/variables/filter", variables={"name": {"like_": "poolkeeper_created"}}):
            if created["value"]["pool"] in self.named:
                self.rest.delete(f"/variables/{created['id']}").raise_for_status()

    def exported(self) -> Any:
        page = self.rest.page("pool-reconcile-export")
        return yaml.safe_load(page.partition("yaml\n")[2].rpartition("\n```")[0])


def template(**env: str) -> dict[str, Any]:
    """A base job template with these environment variables."""
    return {
        "variables": {"type": "object", "properties": {"env": {"type": "object", "default": dict(env)}}},
        "job_configuration": {"env": "{{ env }}"},
    }


def spec(name: str, **fields: Any) -> dict[str, Any]:
    """What a spec says of a work pool."""
    return {"name": name, "type": "process", **fields}
