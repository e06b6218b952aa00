"""Names and reasons that are Markdown, HTML, templates, other lines or a page long: shown as they are, and no more."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.report.page import report_key
from tests.faults.jobs import World, flow, pool_path
from tests.rest import Row, unique, wait_for
from tests.server.test_commands import POOLKEEPER, poolkeeper

pytestmark = [pytest.mark.anyio, pytest.mark.long]

TURNS = "\u202e"
PAGE = "x" * 10_000
TEMPLATES = "{{ 7 * 7 }} {% for x in y %} {{ event.id }} ${HOME} %s {0}"
MARKDOWN = f"a|b `c` [x](javascript:alert) **z** ~~n~~ # h {TEMPLATES} {TURNS}turned"
LINES = "first\n| a | b |\n|---|---|\r\n- [ ] item\n# heading"
HTML = "<img src=x onerror=alert(1)><script>alert(2)</script>"
# What Prefect refuses in the name of a work pool.
REFUSED = re.compile(r"[/%&><]")
EVERYTHING = f"{MARKDOWN} {HTML} {LINES}"
KINDS = {"markdown": MARKDOWN, "html": HTML, "lines": LINES, "all": EVERYTHING, "long": PAGE}
# What would be something else than text.
LIVE = (r"(?<!\\)<(img|script)", r"(?<!\\)\]\(javascript", r"^\| a \| b \|$", r"^# heading", r"^- \[ \] item")
JOBS = ("inventory", "preview", "auto_pause", "cleanup", "lifecycle", "reconcile")
LIMITS = {"max_share": 1.0, "max_actions": 100}


class Hostile:
    """A work pool, a queue, a deployment, a worker and runs whose names are as bad as Prefect takes them."""

    def __init__(self, world: World, kind: str) -> None:
        self.rest, self.kind = world.rest, kind
        self.pool = REFUSED.sub(" ", f"{unique('bad')} {kind}".replace("\n", " ").replace("\r", " "))[:400]
        self.rest.pool(self.pool, description=kind)
        self.path = pool_path(self.pool)
        self.rest.ask(f"{self.path}/queues", name=REFUSED.sub(" ", kind)[:400], description=kind)
        worker = {"name": kind, "heartbeat_interval_seconds": 3600}
        self.rest.post(f"{self.path}/workers/heartbeat", json=worker).raise_for_status()
        self.deployment = self.rest.deployment(self.pool, name=REFUSED.sub(" ", kind)[:400], tags=[kind])
        for states in (("RUNNING", "FAILED"),) * 4 + (("LATE",), ("RUNNING",)):
            run = self.rest.run(self.deployment, *states)
            self.rest.patch(f"/flow_runs/{run}", json={"name": kind, "tags": [kind]}).raise_for_status()

    def asked(self, job: str, spec: Path) -> dict[str, Any]:
        spec.write_text(
            yaml.safe_dump({"version": 1, "pools": [{"name": self.pool, "type": "process", "description": self.kind}]})
        )
        # As a pattern: a name may itself hold what patterns are made of.
        of_pool = {"pools": [f"{self.pool.split(' ', maxsplit=1)[0]}*"]}
        return {
            "inventory": of_pool,
            "preview": of_pool,
            "auto_pause": of_pool | {"threshold": {"minimum_runs": 4}, "limit": LIMITS, "dry_run": False},
            "cleanup": of_pool | {"retention": {"late_hours": 0.0001, "stuck_minutes": 1}},
            "lifecycle": {"action": "pause", "pool": self.pool, "reason": self.kind, "actor": self.kind[:90]},
            "reconcile": {"spec": str(spec), "dry_run": False, "limit": LIMITS},
        }[job]


@pytest.mark.parametrize(
    "kind", [MARKDOWN, HTML, LINES, EVERYTHING, PAGE], ids=["markdown", "html", "lines", "all", "long"]
)
async def test_every_flow_shows_any_name_as_it_is_and_its_log_has_one_line_for_each_message(
    world: World, tmp_path: Path, kind: str
) -> None:
    bad = Hostile(world, kind)
    for job in JOBS:
        state = await flow(job)(**bad.asked(job, tmp_path / "pools.yaml"), return_state=True)
        assert state.is_completed(), (job, state.message)
        run = str(state.state_details.flow_run_id)
        for page in left(world, run, "markdown"):
            is_harmless(page, job)
        is_one_line(state.message, job)
        wait_for(lambda run=run: logged(world, run), what="the log")
        for line in logged(world, run):
            is_one_line(line, job)
    assert world.rest.read(bad.path)["description"].count("[Poolkeeper: ") == 2
    # Both pauses end without a trace.
    state = await flow("lifecycle")(action="resume", pool=bad.pool, reason=kind, return_state=True)
    assert state.is_completed(), state.message


def left(world: World, run: str, kind: str) -> list[str]:
    query = {"flow_run_id": {"any_": [run]}, "type": {"any_": [kind]}}
    found = [str(row["data"]) for row in world.rest.ask("/artifacts/filter", artifacts=query)]
    assert found
    return found


def logged(world: World, run: str) -> list[str]:
    rows: list[Row] = world.rest.ask("/logs/filter", logs={"flow_run_id": {"any_": [run]}}, limit=200)
    return [row["message"] for row in rows if row["name"] == "prefect.flow_runs"]


def is_harmless(page: str, what: str) -> None:
    """Markdown in which none of the names is anything but text."""
    shown = re.sub(r"\]\(\.\./\.\./[^)\s]*\)", "]", page)
    for pattern in (
        r"(?<!\\)<(img|script)",
        r"(?<!\\)\]\(javascript",
        r"^\| a \| b \|$",
        r"^# heading",
        r"^- \[ \] item",
    ):
        found = re.search(pattern, shown, re.MULTILINE)
        assert found is None, (what, pattern, shown[max(0, found.start() - 200) : found.end() + 50])
    assert TURNS not in shown, what
    assert max(map(len, shown.splitlines())) < len(PAGE), what


def is_one_line(text: str, what: str) -> None:
    assert "\n" not in text, (what, text)
    assert "\r" not in text, (what, text)
    assert TURNS not in text, (what, text)


def test_an_export_reads_back_as_it_was_written(world: World) -> None:
    bad = [Hostile(world, kind) for kind in (MARKDOWN, HTML, LINES, EVERYTHING)]
    environment = world.environment
    done = subprocess.run(
        [POOLKEEPER, "export"], check=False, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    there = {each["name"]: each for each in yaml.safe_load(done.stdout)["pools"]}
    for each in bad:
        assert there[each.pool]["description"] == each.kind
        names = {queue["name"]: queue["description"] for queue in there[each.pool]["queues"]}
        assert names[REFUSED.sub(" ", each.kind)[:400]] == each.kind


async def test_what_an_automation_makes_of_a_name_is_that_name(world: World) -> None:
    assert poolkeeper("deploy", world.environment).returncode == 0
    bad = Hostile(world, f"{TEMPLATES} {MARKDOWN}")
    for _ in range(6):
        world.rest.run(bad.deployment, "RUNNING", "FAILED")

    def nudged() -> list[Row]:
        rows = world.rest.ask("/flow_runs/filter", sort="START_TIME_DESC", limit=50)
        return [row for row in rows if row["parameters"].get("pools") == [bad.pool]]

    (first, *_) = wait_for(nudged, seconds=90, what="the run that the automation starts")
    assert (first.get("created_by") or {}).get("type") == "AUTOMATION"
    state = await flow("auto_pause")(**first["parameters"], return_state=True)
    assert state.is_completed(), state.message
    key = report_key("pool-auto-pause", bad.pool)
    assert [row["target"] for row in world.rest.table(f"{key}-table")] == [bad.pool]
