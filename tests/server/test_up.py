"""`poolkeeper up` as a new user runs it: an empty home, no server, no setting."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deployments.project import wanted_automations, wanted_deployments
from tests.rest import Rest, wait_for
from tests.server.test_commands import POOLKEEPER, poolkeeper

# A server, five workers and the runs of a fleet, three times over.
pytestmark = pytest.mark.long

DEMO = {"demo-healthy", "demo-failing", "demo-paused", "demo-no-worker"}


def bare(home: Path) -> dict[str, str]:
    """The environment of somebody who has never used Prefect."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return kept | {"HOME": str(home), "PREFECT_HOME": str(home / "prefect"), "DO_NOT_TRACK": "1"}


def processes_of(home: Path) -> set[int]:
    """Every process that was started with this home, whoever its parent is."""
    mark = f"PREFECT_HOME={home / 'prefect'}".encode()
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.add(int(entry.name))
        except OSError:
            continue
    return found


def services_of(home: Path) -> set[int]:
    """The server and the workers among them; runs come and go on their own schedule."""
    found = set()
    for pid in processes_of(home):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if {b"start"} < {*command} and {b"server", b"worker"} & {*command}:
            found.add(pid)
    return found


@dataclass
class Up:
    """A `poolkeeper up` in the background, with what it prints."""

    process: subprocess.Popen[str]
    log: Path

    def printed(self) -> str:
        return self.log.read_text()

    def until_printed(self, text: str) -> None:
        wait_for(lambda: text in self.printed() or self._ended(), seconds=800, what=repr(text))
        assert text in self.printed(), self.printed()

    def url(self) -> str:
        found = re.search(r"Prefect server: started on (\S+)", self.printed())
        assert found
        return f"{found[1]}/api"

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    def _ended(self) -> bool:
        return self.process.poll() is not None


def start(home: Path, *options: str) -> Up:
    log = home / f"output-{len(list(home.glob('output-*')))}"
    with log.open("w") as output:
        process = subprocess.Popen(
            [POOLKEEPER, "up", *options], env=bare(home), stdout=output, stderr=output, text=True
        )
    return Up(process, log)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def once(home: Path) -> str:
    """What `up --demo --once` prints on a machine that has nothing yet."""
    done = subprocess.run(
        [POOLKEEPER, "up", "--demo", "--once"],
        check=False, env=bare(home), capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert processes_of(home) == set()
    return done.stdout


@pytest.fixture(scope="module")
def again(home: Path, once: str) -> Iterator[Up]:  # noqa: ARG001
    """The second `up --demo` with the same home, which stays."""
    up = start(home, "--demo")
    up.until_printed("Up. Stop with Ctrl-C.")
    yield up
    up.process.kill()


def findings(printed: str) -> dict[str, str]:
    lines = [line.split(maxsplit=5) for line in printed.splitlines() if re.match(r"(demo-|management)\S*\s+\d+/", line)]
    return {line[0]: line[5].strip() if len(line) > 5 else "" for line in lines}


def test_shows_a_fleet_with_right_findings(once: str) -> None:
    found = findings(once)
    # By now it is paused, or tries again already.
    assert "failing" in found.pop("demo-failing").split()
    # Where the machine is slow, as many runs of the keeper go on at once as it has slots.
    assert found.pop("management") in ("", "saturated")
    assert found == {
        "demo-healthy": "",
        "demo-no-worker": "no-online-worker late-runs",
        "demo-paused": "paused late-runs",
    }
    assert re.search(r"pool-inventory +http://127\.0\.0\.1:\d+/artifacts/artifact/[0-9a-f-]{36}", once)


def test_pauses_the_pool_of_the_fleet_that_fails(once: str) -> None:
    # The automation may have been quicker than the run that is started for it, and the pause over by then.
    (verdict,) = re.findall(r"✓ pool-auto-pause: (.+)", once)
    turns = "paused|nothing to do; open|resumed on trial|nothing to do; half-open|circuit closed"
    if verdict == "1 work pool; 1 skipped":
        # Its run is at it in this very moment.
        assert re.search(r"^demo-failing .* paused\b", once, re.MULTILINE)
    else:
        assert re.search(rf"1 work pool; ({turns}): demo-failing", verdict)
    assert re.search(r"pool-auto-pause +http://127\.0\.0\.1:\d+/artifacts/artifact/[0-9a-f-]{36}", once)


def test_shows_the_next_hours_of_each_pool(once: str) -> None:
    assert "✓ pool-preview: " in once
    hours = once.split("next hours", 1)[1]
    rows = {line.split()[0]: line.split()[-4:] for line in hours.splitlines()[1:6]}
    assert set(rows) == {*DEMO, "management"}
    overdue, scheduled = map(int, rows["demo-paused"][2:])
    # A run every five minutes comes due while the command goes on, for fifteen minutes at most.
    assert 5 <= overdue <= 8
    assert scheduled in (287, 288)
    assert rows["demo-healthy"][3] == "·"
    assert re.search(r"pool-preview +http://127\.0\.0\.1:\d+/artifacts/artifact/[0-9a-f-]{36}", once)


def test_fits_a_terminal_of_80_columns(once: str) -> None:
    assert max(len(line) for line in once.splitlines() if re.match(r"(demo-|management|work pool )", line)) <= 80


def test_says_what_it_is_doing_while_it_does_it(once: str) -> None:
    for line in (
        "… starting a Prefect server",
        "✓ work pool management: created",
        "… starting a worker",
        "… running pool-inventory",
    ):
        assert line in once


def test_a_second_time_makes_no_second_fleet(again: Up) -> None:
    assert "created" not in again.printed()
    assert "updated" not in again.printed()
    with Rest(again.url()) as rest:
        assert {pool["name"] for pool in rest.ask("/work_pools/filter")} == {*DEMO, "management"}
        assert rest.ask("/deployments/count") == len(DEMO) + len(wanted_deployments())
        assert len(rest.ask("/automations/filter")) == sum(each.block is None for each in wanted_automations())
        assert {worker["name"] for worker in rest.ask("/work_pools/management/workers/filter")} == {
            next(iter(rest.ask("/work_pools/demo-healthy/workers/filter")))["name"]
        }
        ended = {
            "work_pools": {"name": {"any_": ["demo-failing"]}},
            "flow_runs": {"state": {"type": {"any_": ["FAILED"]}}},
        }
        assert rest.ask("/flow_runs/count", **ended) >= 10


def test_beside_one_that_runs_uses_what_that_one_started(again: Up, home: Path) -> None:
    before = services_of(home)
    assert len(before) == 5
    done = poolkeeper("up --once", bare(home))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"runs already (process {again.process.pid})" in done.stdout
    assert "created" not in done.stdout
    assert services_of(home) == before


def test_doctor_finds_the_server_of_one_that_runs(again: Up, home: Path) -> None:  # noqa: ARG001
    done = poolkeeper("doctor", bare(home))
    assert done.returncode == 0, done.stdout


def test_the_report_is_there_for_the_ui(again: Up) -> None:
    with Rest(again.url()) as rest:
        assert "demo-failing" in rest.page("pool-inventory")
        assert {row["pool"] for row in rest.table("pool-inventory-table")} == {*DEMO, "management"}
        assert rest.get(again.url().removesuffix("/api")).status_code == 200
        settings = rest.get(f"{again.url().removesuffix('/api')}/ui-settings").json()
        assert settings["api_url"] == again.url()


def test_the_keepers_own_page_tells_of_the_demo_and_of_its_next_runs(again: Up) -> None:
    with Rest(again.url()) as rest:
        page = rest.page("poolkeeper").replace("\\", "")
    assert {name for name in DEMO if name in page} == DEMO
    assert "demo-failing" in page.partition("## Done in the last 24 hours")[2]
    upcoming = page.partition("next runs")[2].partition("## Reports")[0]
    wanted = ("pool-inventory", "pool-preview", "pool-auto-pause", "pool-cleanup")
    assert [job for job in wanted if job not in upcoming] == [], upcoming


def test_listens_on_loopback_only(again: Up) -> None:
    port = int(again.url().removesuffix("/api").rpartition(":")[2])
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    listening = {line.split()[1] for line in lines if line.split()[3] == "0A"}
    assert {address for address in listening if address.endswith(f":{port:04X}")} == {f"0100007F:{port:04X}"}


def test_term_stops_everything_it_started(again: Up, home: Path) -> None:
    assert again.end(signal.SIGTERM) == 128 + signal.SIGTERM
    assert processes_of(home) == set()
    assert not (home / "prefect" / "poolkeeper.lock").exists()


def test_ctrl_c_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    up = start(tmp_path, "--demo")
    up.until_printed("running the demo's flows")
    assert up.end(signal.SIGINT) == 128 + signal.SIGINT
    assert "Traceback" not in up.printed()
    wait_for(lambda: not processes_of(tmp_path), seconds=10, what="its processes to be gone")


def test_the_demo_refuses_a_server_that_is_not_on_this_machine(tmp_path: Path) -> None:
    done = poolkeeper("up --demo --once", bare(tmp_path), PREFECT_API_URL="http://prefect.example/api")
    assert done.returncode == 1
    assert "--allow-remote-demo" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
