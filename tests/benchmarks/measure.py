"""How a way of doing a job is measured: in a process of its own, in turn with the others, as a median of rounds.

Nothing heavy is imported at the top of this module or of a job's: on Linux a process starts with the peak memory of
the one that started it, and each way's peak is to be its own.
"""

import asyncio
import importlib
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.benchmarks.fleet import SIZES, Fresh, Size

ROOT = Path(__file__).parents[2]
OURS = "poolkeeper"
# So often at most: what is slow by a lot is so each time.
SELDOM, ONCE = 3, 1

Totals = dict[str, int]


@dataclass(frozen=True)
class Setting:
    """What every way is told. What one of them leaves for another is in `directory`."""

    size_name: str
    filled: str
    url: str
    directory: str

    @property
    def size(self) -> Size:
        return SIZES[self.size_name]

    @property
    def filled_at(self) -> datetime:
        return datetime.fromisoformat(self.filled)


@dataclass(frozen=True)
class Measurement:
    """`totals` are the answer: it must be the same in each round and for each way that has one.

    `parts` says where the seconds went, where a way tells its parts apart.
    """

    requests: int | None
    seconds: float
    peak_mb: float
    import_mb: float
    totals: Totals = field(default_factory=dict)
    note: str = ""
    parts: dict[str, float] = field(default_factory=dict)

    @property
    def mb_above_import(self) -> float:
        return self.peak_mb - self.import_mb


@dataclass(frozen=True)
class Way:
    """One way of doing a job. One that `comes_last` changes what the others look at."""

    name: str
    measure: Callable[[Setting], Measurement]
    most_rounds: int | None = None
    comes_last: bool = False


@dataclass(frozen=True)
class Job:
    """What is done, and the ways of doing it, Poolkeeper's first.

    `runs_in_window` says how many runs it is about. `fresh` runs are there anew for each way.
    """

    name: str
    ways: tuple[Way, ...]
    runs_in_window: Callable[[Size], float]
    fresh: Fresh | None = None

    def way(self, name: str) -> Way:
        return next(way for way in self.ways if way.name == name)


# The ways of each job that were measured: a measurement, or None where a round failed.
Rounds = dict[str, list[Measurement | None]]
Results = Mapping[str, Mapping[str, Measurement | None]]


# In the process that is measured.


@dataclass
class Meter:
    """Counts seconds and requests while it runs."""

    parts: dict[str, float] = field(default_factory=dict)
    requests: int = 0
    is_running: bool = False

    @contextmanager
    def __call__(self, part: str = "all") -> Iterator[None]:
        self.is_running, started = True, time.perf_counter()
        yield
        self.parts[part] = time.perf_counter() - started
        self.is_running = False

    @contextmanager
    def counting_requests(self) -> Iterator[None]:
        """Whatever is sent with httpx, which all the ways use; what is sent again counts again."""
        import httpx  # noqa: PLC0415 - see above

        send, send_now = httpx.AsyncClient.send, httpx.Client.send

        async def counted(client: Any, *arguments: Any, **options: Any) -> Any:
            self.requests += self.is_running
            return await send(client, *arguments, **options)

        def counted_now(client: Any, *arguments: Any, **options: Any) -> Any:
            self.requests += self.is_running
            return send_now(client, *arguments, **options)

        with patch.object(httpx.AsyncClient, "send", counted), patch.object(httpx.Client, "send", counted_now):
            yield


def peak_mb(who: int = resource.RUSAGE_SELF) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


def measure(
    ask: Callable[[Meter], Coroutine[Any, Any, Totals]], *, above: str = "prefect", note: str = ""
) -> Measurement:
    """What is asked while the meter runs, and the peak memory above what importing `above` takes.

    What is asked imports the rest before it has the meter run: nobody pays for imports.
    """
    importlib.import_module(above)
    import_mb = peak_mb()
    meter = Meter()
    with meter.counting_requests():
        totals = asyncio.run(ask(meter))
    seconds = sum(meter.parts.values())
    return Measurement(meter.requests, seconds, peak_mb(), import_mb, totals, note, meter.parts)


# Around it.


def turns(ways: Sequence[Way], rounds: int) -> Iterator[Way]:
    """Who is measured when: all in turn, each round begun by another one, and at the end those that come last."""
    for comes_last in (False, True):
        some = [way for way in ways if way.comes_last is comes_last]
        for number in range(rounds if some else 0):
            start = number % len(some)
            for way in some[start:] + some[:start]:
                if way.most_rounds is None or number < way.most_rounds:
                    yield way


def measure_job(
    job: Job, setting: Setting, rounds: int, environment: Mapping[str, str], settle: Callable[[], None]
) -> Rounds:
    """Its ways in turn, each when the server has settled. Where the job only reads, Poolkeeper's way goes once before
    and is not measured, so that the server is warm."""
    measured: Rounds = {way.name: [] for way in job.ways}
    if job.fresh is None:
        measure_in_new_process(job, job.ways[0], setting, environment)
    for way in turns(job.ways, rounds):
        if job.fresh is not None:
            settle()
            fill(setting, environment, "--fresh", job.fresh.name.lower())
        measured[way.name].append(measure_in_new_process(job, way, setting, environment))
    return measured


def fill(setting: Setting, environment: Mapping[str, str], *options: str) -> None:
    words = ["--url", setting.url, "--size", setting.size_name, "--at", setting.filled]
    command = [sys.executable, "-m", "tests.benchmarks.fill", *words, *options]
    subprocess.run(command, check=True, env=dict(environment), cwd=ROOT, stdout=sys.stderr)


def measure_in_new_process(job: Job, way: Way, setting: Setting, environment: Mapping[str, str]) -> Measurement | None:
    """None where it failed; the process has said why."""
    command = [sys.executable, "-m", "tests.benchmarks", "--measure", job.name, way.name, json.dumps(asdict(setting))]
    process = subprocess.run(command, check=False, env=dict(environment), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if process.returncode != 0:
        print(f"{setting.size_name}, {job.name}, {way.name}: failed", file=sys.stderr)
        return None
    said = process.stdout.splitlines()[-1]
    print(f"{setting.size_name}, {job.name}, {way.name}: {said}", file=sys.stderr)
    return Measurement(**json.loads(said))


# What came out.


def median(rounds: Sequence[Measurement | None]) -> Measurement | None:
    """The median of the times and the highest peak; None where any round failed."""
    measured = [each for each in rounds if each is not None]
    if not measured or len(measured) < len(rounds):
        return None
    return replace(
        measured[-1],
        seconds=statistics.median(each.seconds for each in measured),
        peak_mb=max(each.peak_mb for each in measured),
        parts={part: statistics.median(each.parts[part] for each in measured) for part in measured[-1].parts},
    )


def problems(job: str, rounds: Rounds) -> list[str]:
    """What keeps the ways from being compared: one failed, or did not give the answer that the others gave."""
    found = [f"{job}, {way}: failed" for way, measured in rounds.items() if None in measured]
    answers = {
        way: [each.totals for each in measured if each is not None and each.totals] for way, measured in rounds.items()
    }
    ours = answers[OURS][0] if answers[OURS] else {}
    return found + [
        f"{job}, {way}: its answer is {answer}, Poolkeeper's first one is {ours}"
        for way, given in answers.items()
        for answer in given
        if answer != ours
    ]
