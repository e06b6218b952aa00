"""Clocks that are wrong: the server's minutes off the worker's, and one that is set while something waits for it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import anyio
import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from tests.api import served
from tests.faults.jobs import flow
from tests.processes import flow_process, free_port
from tests.rest import Rest, wait_for
from tests.server.breaker import Breaker, Pool, breaking
from tests.server.cleaning import Attic
from tests.servers import prefect_environment

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
A_MINUTE = {"minimum_runs": 4, "window_minutes": 1}
COOLDOWN = {"cooldown_minutes": 10}
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@dataclass
class Clock:
    """What the server takes for the time, read anew from a file once a second."""

    file: Path
    environment: dict[str, str] = field(default_factory=dict)

    def set(self, ahead: timedelta) -> None:
        self.file.write_text(f"{ahead.total_seconds():+.0f}")


@dataclass
class Skewed:
    """A server with a clock of its own, and work pools on it."""

    rest: Rest
    clock: Clock
    breaker: Breaker
    environment: dict[str, str]

    def due(self, pool: Pool, within: timedelta) -> str:
        """A run that is due by the server's clock."""
        return self.rest.run(pool.usual, due=datetime.now(UTC) - (self.now() + within))

    def set(self, ahead: timedelta) -> None:
        """And wait until the server tells so: it looks at its clock once a second."""
        self.clock.set(ahead)
        wait_for(lambda: abs(self.now() - datetime.now(UTC) - ahead) < 5 * SECOND, what="the server's clock")

    def end(self, run: str) -> None:
        completed = {"type": "COMPLETED", "name": "Completed"}
        self.rest.ask(f"/flow_runs/{run}/set_state", state=completed, force=True)

    def is_logged(self, words: str) -> bool:
        return any(words in row["message"] for row in self.rest.everything("/logs/filter"))

    def now(self) -> datetime:
        return parsedate_to_datetime(self.rest.get("/health").headers["date"])


@pytest.fixture(scope="module")
def skewed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Skewed]:
    if LIBRARY is None:
        pytest.skip("needs Debian's package faketime")
    home = tmp_path_factory.mktemp("clocks")
    clock = Clock(home / "clock")
    clock.set(timedelta(0))
    environment = prefect_environment(home, free_port())
    # Lengths of time stay as they are: they are told by another clock.
    faked = {"LD_PRELOAD": str(LIBRARY), "FAKETIME_TIMESTAMP_FILE": str(clock.file)}
    clock.environment = faked | {"FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    with served(environment | clock.environment) as url, Rest(url) as rest, breaking(rest, environment) as breaker:
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield Skewed(rest, clock, breaker, environment)
        clock.set(timedelta(0))


@pytest.mark.parametrize("ahead", [-7 * MINUTE, 7 * MINUTE], ids=["behind", "ahead"])
class TestTheServersClockIsTheOneThatCounts:
    async def test_for_what_failed_within_a_window_and_for_the_end_of_a_pause(
        self, skewed: Skewed, ahead: timedelta
    ) -> None:
        skewed.set(ahead)
        pool = skewed.breaker.pool(concurrency_limit=7)
        pool.fail(4)
        await pool.look(threshold=A_MINUTE, recovery=COOLDOWN)
        assert pool.is_paused, pool.rows()
        lasts = datetime.fromisoformat(pool.circuit()["until"]) - skewed.now()
        assert 9 * MINUTE < lasts < 11 * MINUTE
        await pool.look(recovery=COOLDOWN)
        assert pool.phase() == "open"
        skewed.set(ahead + 11 * MINUTE)
        await pool.look(recovery=COOLDOWN)
        assert pool.phase() == "half-open", pool.rows()

    async def test_for_what_is_due(self, skewed: Skewed, ahead: timedelta) -> None:
        skewed.set(ahead)
        pool = skewed.breaker.pool()
        run = skewed.due(pool, 5 * MINUTE)
        state = await flow("preview")(pools=[pool.name], hours=1, return_state=True)
        assert state.is_completed()
        (row,) = skewed.rest.table(f"pool-preview-{pool.name}-table")
        assert (row["run_id"], row["verdict"]) == (run, "blocked")

    async def test_for_how_long_ago_something_ended(self, skewed: Skewed, ahead: timedelta) -> None:
        skewed.set(ahead)
        attic = Attic(skewed.rest, skewed.environment)
        (young,), (old,) = (attic.old(days=(age - ahead) / DAY) for age in (4 * MINUTE, 20 * MINUTE))
        state = await attic.sweep(retention={"finished_days": 10 * MINUTE / DAY})
        assert state.is_completed()
        assert attic.there([young, old]) == {young}


async def test_a_clock_that_is_set_back_ends_no_pause_early_and_keeps_none_for_good(skewed: Skewed) -> None:
    skewed.set(timedelta(0))
    pool = skewed.breaker.pool(concurrency_limit=7, description="mine")
    before = pool.now()
    pool.fail(4)
    await pool.look(recovery=COOLDOWN)
    until = pool.circuit()["until"]
    skewed.set(-HOUR)
    for _ in range(2):
        state = await pool.look(recovery=COOLDOWN)
        assert state.is_completed(), state.message
    assert (pool.phase(), pool.circuit()["until"], pool.is_paused) == ("open", until, True)
    skewed.set(11 * MINUTE)
    await pool.look(recovery=COOLDOWN)
    assert pool.phase() == "half-open", pool.rows()
    skewed.set(12 * MINUTE)
    pool.succeed(3)
    skewed.set(13 * MINUTE)
    await pool.look(recovery=COOLDOWN)
    assert pool.now() == before


async def test_what_failed_before_the_clock_was_set_back_counts_and_the_pause_ends_by_the_new_time(
    skewed: Skewed,
) -> None:
    skewed.set(timedelta(0))
    pool = skewed.breaker.pool()
    pool.fail(4)
    pool.change(description="touched in what is then the future")
    skewed.set(-HOUR)
    with anyio.fail_after(MINUTE.total_seconds()):
        await pool.look(recovery=COOLDOWN)
    assert pool.is_paused, pool.rows()
    skewed.set(-HOUR + 11 * MINUTE)
    await pool.look(recovery=COOLDOWN)
    assert pool.phase() == "half-open", pool.rows()


def test_a_drain_goes_on_while_the_clock_of_its_worker_is_set(skewed: Skewed, tmp_path: Path) -> None:
    skewed.set(timedelta(0))
    pool = skewed.breaker.pool()
    runs = [skewed.rest.run(pool.usual, "RUNNING") for _ in range(3)]
    clock = Clock(tmp_path / "clock", skewed.clock.environment | {"FAKETIME_TIMESTAMP_FILE": str(tmp_path / "clock")})
    clock.set(timedelta(0))
    asked = {"action": "drain", "pool": pool.name, "reason": "the tests", "actor": "Ann", "wait_minutes": 30}
    process = flow_process("lifecycle", asked, skewed.environment | clock.environment)
    for ended, ahead in enumerate((timedelta(0), HOUR, -HOUR)):
        wait_for(lambda ended=ended: skewed.is_logged(f"{ended} of 3 runs ended"), what="the drain")  # type: ignore[misc]
        clock.set(ahead)
        skewed.end(runs[ended])
    assert "COMPLETED" in process.communicate(timeout=120)[0]
    assert pool.is_paused
