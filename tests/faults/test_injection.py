"""Names that are Markdown, HTML, templates, line ends or very long: text, wherever the flows and commands put them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.policy.words import INVISIBLE
from tests.faults.jobs import pool_path
from tests.processes import flow_process, free_port
from tests.rest import Rest, Row, unique, wait_for
from tests.server.breaker import UNLIMITED
from tests.server.test_commands import poolkeeper
from tests.servers import prefect_environment, running_server

pytestmark = pytest.mark.faults

# Rendered as a template, a product of these is left; and what looks like a further line of a log.
FACTORS, PRODUCT = "7191*7193", str(7191 * 7193)
FORGED = "00:00:00.000 | CRITICAL | forged"
# What Prefect takes as the name of a work pool; elsewhere it takes more.
NAME = (
    f"**b** [x](javascript:s) `c` | {{{{ {FACTORS} }}}} {{# no #}} ${{x}} {{0}} [bold red]x[/bold red] 'y' \"z\" "
    f"*alias: !!python \u202e\n{FORGED}\r\x1b[31mred"
)
TEXT = f'{NAME} <img src="x" onerror="s"> {{% raw %}} &amp; ../../x?y#z'
LONG = "long" * 2560
SECONDS_FOR_A_FLOW = 120
OLD = {"finished_days": 0.0, "late_hours": 0.0, "keep_last": 0, "keep_latest_failure": False}
DELETING = {"archive_deployments": True, "cancel_runs": True}


@dataclass
class Village:
    """A server with the keeper deployed, and work pools of which everything has such names."""

    rest: Rest
    environment: dict[str, str]
    folder: Path
    printed: dict[str, str] = field(default_factory=dict)
    ends: list[str] = field(default_factory=list)

    def run(self, entry: str, **parameters: Any) -> None:
        process = flow_process(entry, parameters, self.environment)
        text = process.communicate(timeout=SECONDS_FOR_A_FLOW)[0]
        self.printed[f"{len(self.ends)} {entry}"] = text
        ends = [line for line in text.splitlines() if line.startswith(("COMPLETED", "FAILED", "CRASHED"))]
        self.ends.append(f"{entry} {ends[-1] if ends else text[-2000:]}")

    def command(self, words: str) -> str:
        done = poolkeeper(words, self.environment)
        self.printed[words] = done.stdout + done.stderr
        return done.stdout

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
    assert village.now(going)["description"] == text
    assert [end for end in village.ends if " COMPLETED " not in end] == []

    exported = yaml.safe_load(village.command("export"))
    assert {pool, going} <= {each["name"] for each in exported["pools"]}
    spec = village.folder / unique("pools.yaml")
    # What is there already, and one that is new.
    new = {"name": unique("new") + name, "type": "process", "description": text}
    spec.write_text(yaml.safe_dump({**exported, "pools": [*exported["pools"], new]}))
    village.run("reconcile", spec=str(spec), dry_run=False, limit={"max_actions": 1, "max_share": 1.0})
    assert " COMPLETED " in village.ends[-1]
    assert village.now(new["name"])["description"] == text
    village.command("restore")
    village.command("doctor")

    assert rendered(village) == []
    assert forged(village) == []
    assert unseen(village) == []


def rendered(village: Village) -> list[str]:
    """Where a name was taken for a template."""
    return [each[:400] for each in village.written() if PRODUCT in each]


def forged(village: Village) -> list[str]:
    """Lines of a log or a terminal that a name has made."""
    logs = [str(row["message"]) for row in village.rest.everything("/logs/filter")]
    lines = [line for text in (*village.printed.values(), *logs) for line in text.splitlines()]
    return [line for line in lines if line.startswith((FORGED, "\x1b[31mred"))]


def unseen(village: Village) -> list[str]:
    """Where reports or logs have what nobody sees, marks that turn the direction of the text among it."""
    texts = {
        row["key"]: row["data"] for row in village.rest.everything("/artifacts/filter") if row["type"] == "markdown"
    }
    texts |= {row["id"]: row["message"] for row in village.rest.everything("/logs/filter")}
    return [what for what, text in texts.items() if INVISIBLE.search(text.replace("\n", ""))]


def test_the_automation_on_failures_hands_a_name_on_as_it_is(village: Village) -> None:
    pool = village.pool(NAME, TEXT)

    def nudged() -> list[Row]:
        rows = village.rest.everything("/flow_runs/filter", flow_runs={"name": {"like_": ""}})
        by_automation = [row for row in rows if (row["created_by"] or {}).get("type") == "AUTOMATION"]
        return [row["parameters"]["pools"] for row in by_automation if row["parameters"].get("pools")]

    found = wait_for(nudged, what="the automation")
    assert [pool] in found
    assert all(PRODUCT not in str(each) for each in found)
