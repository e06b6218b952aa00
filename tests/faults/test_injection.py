"""Names that are Markdown, HTML, templates, line ends or very long: text, wherever the flows and commands put them."""

from collections.abc import Iterator

import pytest
import yaml

from flows.policy.words import INVISIBLE
from tests.faults.jobs import pool_path
from tests.faults.transcript import Transcript
from tests.processes import free_port
from tests.rest import Rest, Row, unique, wait_for
from tests.server.breaker import UNLIMITED
from tests.servers import prefect_environment, running_server

pytestmark = pytest.mark.faults

# Rendered as a template, a product of these is left; and what looks like a further line of a log.
FACTORS, PRODUCT = "7191*7193", str(7191 * 7193)
FORGED = "00:00:00.000 | CRITICAL | forged"
# What Prefect takes as the name of a work pool, and answers to: of others it takes more.
NAME = (
    f"**b** [x](javascript:s) `c` | {{{{ {FACTORS} }}}} {{# no #}} ${{x}} {{0}} [bold red]x 'y' \"z\" "
    f"*alias: !!python \u202e\r{FORGED}\r\x1b[31mred"
)
TEXT = f'{NAME} <img src="x" onerror="s"> {{% raw %}} &amp; ../../x?y#z\n{FORGED}'
LONG = "long" * 2560
OLD = {"finished_days": 0.00001, "late_hours": 0.00001, "keep_last": 0, "keep_latest_failure": False}
DELETING = {"archive_deployments": True, "cancel_runs": True}


class Village(Transcript):
    """A server with the keeper deployed, and work pools of which everything has such names."""

    def pool(self, name: str, text: str) -> str:
        """A work pool whose queue, deployment, runs, tags and worker are called like that as well."""
        pool, rest = unique("pool") + name, self.rest
        rest.pool(pool, description=text)
        queue = rest.ask(f"{pool_path(pool)}/queues", name=f"queue {name}", description=text)["name"]
        flow = rest.ask("/flows/", name=f"flow {name}")["id"]
        body = {"flow_id": flow, "work_pool_name": pool, "work_queue_name": queue, "tags": [text], "description": text}
        schedules = [{"schedule": {"interval": 3600, "anchor_date": "2020-01-01T00:00:00Z"}, "active": True}]
        deployment = rest.ask("/deployments/", name=f"deployment {name}", schedules=schedules, **body)
        for number, states in enumerate([("RUNNING", "FAILED")] * 12 + [("LATE",), ("RUNNING",)]):
            run = rest.run(deployment, *states)
            rest.patch(f"/flow_runs/{run}", json={"name": f"{number} {text}", "tags": [text]}).raise_for_status()
        return pool

    def logs(self) -> list[Row]:
        return self.rest.everything("/logs/filter")

    def now(self, pool: str) -> Row:
        return dict(self.rest.read(pool_path(pool)))

    def written(self) -> Iterator[str]:
        """All that was printed and all that was left on the server by the flows, which belong to no deployment."""
        yield from self.printed.values()
        for path in ("artifacts", "logs", "variables", "automations", "block_documents"):
            yield from (str(row) for row in self.rest.everything(f"/{path}/filter"))
        yield from (str(row) for row in self.rest.events(event={"prefix": ["poolkeeper."]}))
        ours = {"deployment_id": {"is_null_": True}}
        yield from (str(row) for row in self.rest.everything("/flow_runs/filter", flow_runs=ours))


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Village]:
    environment = prefect_environment(tmp_path_factory.mktemp("village"), free_port())
    with running_server(environment) as url, Rest(url) as rest:
        village = Village(rest, environment, tmp_path_factory.mktemp("spec"))
        village.command("deploy")
        yield village


@pytest.mark.parametrize(("name", "text"), [(NAME, TEXT), (LONG, LONG)], ids=["templates", "10 KB"])
def test_every_job_does_its_work_on_such_names_and_none_is_more_than_text(
    village: Village, name: str, text: str
) -> None:
    by_hand = {"reason": text[:300], "actor": text[:100]}
    pool, going = village.pool(name, text), village.pool(name, text)
    both = [pool, going]
    village.run("inventory")
    village.run("inventory", pools=[pool])
    village.run("preview", calendar=True)
    if name == LONG:
        told = village.run("auto_pause", "FAILED", pools=both, dry_run=False, limit=UNLIMITED)
        assert "Nothing was changed. Give it a shorter name." in told
        village.run("lifecycle", action="pause", pool=pool, **by_hand)
    else:
        village.run("auto_pause", pools=both, dry_run=False, limit=UNLIMITED)
    assert village.now(pool)["is_paused"]
    assert village.now(pool)["description"].endswith(text)
    village.run("lifecycle", action="resume", pool=pool, **by_hand)
    assert not village.now(pool)["is_paused"]
    assert village.now(pool)["description"] == text
    village.run("lifecycle", action="pause", pool=pool, **by_hand)
    village.run("cleanup", pools=both, retention=OLD, dry_run=False, limit=UNLIMITED)
    village.run("lifecycle", action="delete", pool=going, delete=DELETING, **by_hand)
    assert village.rest.get(pool_path(going)).status_code == 404
    village.run("lifecycle", action="restore", pool=going, **by_hand)
    assert village.now(going)["description"].endswith(text)

    exported = yaml.safe_load(village.command("export"))
    assert {pool, going} <= {each["name"] for each in exported["pools"]}
    spec = village.folder / unique("pools.yaml")
    # What is there already, and one that is new.
    new = {"name": unique("new") + name, "type": "process", "description": text}
    spec.write_text(yaml.safe_dump({**exported, "pools": [*exported["pools"], new]}))
    applied = {"spec": str(spec), "dry_run": False, "limit": {"max_actions": 1, "max_share": 1.0}}
    if name == LONG:
        assert "Nothing was changed." in village.run("reconcile", "FAILED", **applied)
        assert village.rest.get(pool_path(new["name"])).status_code == 404
    else:
        village.run("reconcile", **applied)
        assert village.now(new["name"])["description"] == text
    village.command("restore")
    village.command("doctor")

    assert rendered(village) == []
    assert forged(village) == []
    assert unseen(village) == []


def test_a_work_pool_that_prefect_takes_and_does_not_answer_to_keeps_nobody_from_the_others(village: Village) -> None:
    """One with a line end in its name: no address leads to it."""
    lost, other = f"{unique('lost')}\n{FORGED}", unique("other")
    for name in (lost, other):
        village.rest.pool(name)
    assert village.rest.get(pool_path(lost)).status_code == 404
    village.run("inventory")
    assert {other} <= {row["pool"] for row in village.rest.table("pool-inventory-table")}
    village.run("preview")
    village.run("auto_pause")
    village.run("cleanup")
    assert forged(village) == []


def rendered(village: Village) -> list[str]:
    """Where a name was taken for a template."""
    return [each[:400] for each in village.written() if PRODUCT in each]


def forged(village: Village) -> list[str]:
    """Where a name has made a line of a log or a terminal."""
    texts = dict(village.printed) | {f"log {row['id']}": row["message"] for row in village.logs()}
    begins = (FORGED, "\x1b[31mred")
    return [
        f"{what}: {text[-600:]}"
        for what, text in texts.items()
        for line in text.splitlines()
        if line.startswith(begins)
    ]


def unseen(village: Village) -> list[str]:
    """Where reports or logs have what nobody sees, marks that turn the direction of the text among it."""
    texts = {
        row["key"]: row["data"] for row in village.rest.everything("/artifacts/filter") if row["type"] == "markdown"
    }
    texts |= {row["id"]: row["message"] for row in village.logs()}
    return [what for what, text in texts.items() if INVISIBLE.search(text.replace("\n", ""))]


def test_the_automation_on_failures_hands_a_name_on_as_it_is(village: Village) -> None:
    pool = village.pool(NAME, TEXT)

    def nudged() -> list[Row]:
        rows = village.rest.everything("/flow_runs/filter")
        by_automation = [row for row in rows if (row["created_by"] or {}).get("type") == "AUTOMATION"]
        return [row["parameters"]["pools"] for row in by_automation if row["parameters"].get("pools")]

    wait_for(lambda: [pool] in nudged(), what="the automation")
    assert all(PRODUCT not in str(each) for each in nudged())
