"""Clocks that are wrong: no flow asks the clock of the machine it runs on, and a step of the server's loses nothing."""

import ast
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.faults.jobs import JOBS, World
from tests.faults.proxy import Proxy
from tests.faults.wire import Answer, Request

FLOWS = Path(__file__).resolve().parents[2] / "flows"
MINUTES = (-7, 7)


def test_only_a_server_that_tells_no_time_leaves_it_to_the_machines_clock() -> None:
    asked = [
        f"{path.relative_to(FLOWS)}: {ast.unparse(node)}"
        for path in FLOWS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and is_a_clock(node)
    ]
    assert asked == ["prefect_api/client.py: datetime.now"]


def is_a_clock(node: ast.Attribute) -> bool:
    asks = node.attr in ("now", "utcnow", "today", "time", "time_ns")
    return asks and ast.unparse(node.value) in ("datetime", "date", "time", "pendulum")


def shifted(by: timedelta) -> Callable[[Request, Answer], None]:
    """The server's clock, as it is told, is off by so much from the one by which it stamps everything else."""

    def change(_request: Request, answer: Answer) -> None:
        for at, (name, value) in enumerate(answer.headers):
            if name.lower() == "date":
                told: datetime = parsedate_to_datetime(value) + by
                answer.headers[at] = (name, format_datetime(told, usegmt=True))

    return change


@pytest.mark.anyio
@pytest.mark.long
@pytest.mark.usefixtures("dead_at_once")
@pytest.mark.parametrize("minutes", MINUTES)
@pytest.mark.parametrize("job", [job for job in JOBS if job not in ("auto-pause: try again", "auto-pause: recover")])
async def test_a_clock_that_is_minutes_off_for_a_while_changes_nothing_in_the_end(
    world: World, proxy: Proxy, job: str, minutes: int
) -> None:
    usual, case = await JOBS[job](world, 2)
    assert (await usual.run()).is_completed()
    right: Any = usual.stands()
    proxy.clear()
    proxy.change = shifted(timedelta(minutes=minutes))
    state = await case.run()
    assert state.is_completed(), state.message
    proxy.clear()
    if case.stands() != right:
        again = await case.run()
        assert again.is_completed(), again.message
    assert case.stands() == right
