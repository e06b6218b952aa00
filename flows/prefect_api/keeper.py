"""The keeper as it is deployed on this server: what it must never touch, and who started this run."""

from dataclasses import dataclass
from uuid import UUID

from prefect.runtime import flow_run

from flows.policy.protection import Protection
from flows.prefect_api.bookings import BOOKED
from flows.prefect_api.client import Api, NotFound
from flows.prefect_api.deployments import read_rows
from flows.prefect_api.paging import Row

# Each flow is deployed once, as `<flow>/management`; where none is, the pool is known by the same name.
MANAGEMENT = "management"
TAG = "poolkeeper"
AUTOMATION = "AUTOMATION"


@dataclass(frozen=True, slots=True)
class Keeper:
    """`deployments` are its own by the name of their flow. `is_nudged`: no person has asked for this run.

    `tags` are those of this run, `started_by` who or what started it, as far as Prefect tells.
    """

    protection: Protection
    deployments: dict[str, str]
    run_id: str = ""
    is_nudged: bool = False
    tags: frozenset[str] = frozenset()
    started_by: str = ""

    @property
    def jobs(self) -> dict[str, str]:
        """The jobs by the ids of their deployments."""
        return {id_: f"pool-{flow.replace('_', '-')}" for flow, id_ in self.deployments.items()}


async def read_keeper(api: Api) -> Keeper:
    rows = await read_rows(api, {"deployments": {"name": {"any_": [MANAGEMENT]}, "tags": {"all_": [TAG]}}})
    run_id = flow_run.get_id() or ""
    run = await _own_run(api, run_id) if run_id else {}
    tags, creator = frozenset(run.get("tags") or ()), run.get("created_by") or {}
    return Keeper(
        protection=Protection(
            pools=frozenset({row["work_pool_name"] for row in rows if row.get("work_pool_name")} or {MANAGEMENT}),
            deployment_ids=frozenset(row["id"] for row in rows),
            run_ids=frozenset({run_id} - {""}),
        ),
        deployments={row["entrypoint"].rpartition(":")[2]: row["id"] for row in rows if row.get("entrypoint")},
        run_id=run_id,
        # An automation started it, or an earlier run booked it.
        is_nudged=BOOKED in tags or creator.get("type") == AUTOMATION,
        tags=tags,
        started_by=creator.get("display_value") or "",
    )


async def _own_run(api: Api, run_id: str) -> Row:
    try:
        row: Row = await api.read(f"/flow_runs/{UUID(run_id)}")
    except NotFound:
        return {}
    return row
