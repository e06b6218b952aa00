"""The bars: what must hold between the ways of a job, and how cost may grow with the fleet."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from tests.benchmarks.fleet import SIZES, Size
from tests.benchmarks.measure import OURS, Job, Measurement, Results

# The median of a handful of rounds is not surer than this.
NOISE = 0.1
# The jobs that look at the whole fleet; the others are about the same number of runs in each.
GROWING = ("inventory", "auto-pause, an hour", "auto-pause, a day", "preview")


@dataclass(frozen=True)
class Bar:
    """What is read from the results of one size, and how much it has to be at least or at most.

    It is judged at some sizes only. `number` is None where a way was not measured or failed.
    """

    job: str
    words: str
    number: Callable[[Results, Size], float | None]
    at_least: float | None = None
    at_most: float | None = None
    sizes: str = "SML"
    is_told_elsewhere: bool = True

    def is_reached(self, number: float) -> bool:
        return (self.at_least is None or number >= self.at_least) and (self.at_most is None or number <= self.at_most)

    @property
    def limit(self) -> str:
        return f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"


@dataclass(frozen=True)
class Verdict:
    """`is_reached` is None where the bar is not for this size."""

    job: str
    size: str
    words: str
    limit: str
    number: float
    is_reached: bool | None

    @property
    def row(self) -> tuple[str, ...]:
        reached = {True: "yes", False: "no", None: "not judged at this size"}[self.is_reached]
        return self.job, self.size, self.words, self.limit, f"{self.number:.2f}", reached


def bars(*, is_postgres: bool) -> list[Bar]:
    return [
        Bar("inventory", "poolkeeper / floor", over("inventory", OURS, "floor"), at_most=1.2, sizes="M"),
        Bar("inventory", "client / poolkeeper", over("inventory", "client", OURS), at_least=7, sizes="M"),
        Bar("inventory", "cli / poolkeeper", over("inventory", "cli", OURS), at_least=100, sizes="M"),
        Bar("inventory", "requests a work pool", requests_a_pool("inventory"), at_most=3.2, sizes="M"),
        Bar("preview", "poolkeeper / floor", over("preview", OURS, "floor"), at_most=1.3, sizes="M"),
        _sweep("auto-pause, an hour", at_least=5),
        _sweep("auto-pause, a day", at_least=1),
        Bar("cleanup", "client / poolkeeper", over("cleanup", "client", OURS), at_least=9 if is_postgres else 5),
        Bar("cancel", "client / poolkeeper", over("cancel", "client", OURS), at_least=2.2 if is_postgres else 1.4),
        Bar("all", "most MB above import prefect", most_memory, at_most=60, sizes="SM", is_told_elsewhere=False),
        Bar("all", "most MB above import prefect", most_memory, at_most=150, sizes="L", is_told_elsewhere=False),
    ]


def _sweep(job: str, at_least: float) -> Bar:
    return Bar(job, "two counts / poolkeeper", over(job, "two counts", OURS), at_least=at_least, sizes="ML")


def over(job: str, slow: str, fast: str) -> Callable[[Results, Size], float | None]:
    """How many times as long the one way takes as the other."""

    def number(results: Results, _size: Size) -> float | None:
        one, other = _measured(results, job, slow), _measured(results, job, fast)
        return one.seconds / other.seconds if one and other else None

    return number


def requests_a_pool(job: str) -> Callable[[Results, Size], float | None]:
    def number(results: Results, size: Size) -> float | None:
        ours = _measured(results, job, OURS)
        return ours.requests / size.pools if ours and ours.requests is not None else None

    return number


def most_memory(results: Results, _size: Size) -> float | None:
    return max((ours.mb_above_import for job in results if (ours := _measured(results, job, OURS))), default=None)


def verdicts(results: Mapping[str, Results], *, is_postgres: bool) -> list[Verdict]:
    """Each bar at each size that was measured, and how the cost has grown from each size to the next."""
    found = [
        Verdict(bar.job, name, bar.words, bar.limit, number, bar.is_reached(number) if name in bar.sizes else None)
        for bar in bars(is_postgres=is_postgres)
        for name, each in results.items()
        if name in bar.sizes or bar.is_told_elsewhere
        if (number := bar.number(each, SIZES[name])) is not None
    ]
    return found + list(growths(results))


def growths(results: Mapping[str, Results]) -> Iterator[Verdict]:
    """Linear or better: a work pool costs no more seconds in a larger fleet."""
    for small, large in pairwise(name for name in SIZES if name in results):
        for job in GROWING:
            before, after = _measured(results[small], job, OURS), _measured(results[large], job, OURS)
            if before and after:
                grown = (after.seconds / SIZES[large].pools) / (before.seconds / SIZES[small].pools)
                words, limit = f"seconds a work pool, times those of {small}", f"at most 1, give or take {NOISE:.0%}"
                yield Verdict(job, large, words, limit, grown, grown <= 1 + NOISE)


def unit_costs(job: Job, size_name: str, ours: Measurement) -> tuple[str, ...]:
    """Requests and milliseconds for each of what there is."""
    size = SIZES[size_name]
    counts = (size.pools, size.deployments, job.runs_in_window(size))
    costs = [((ours.requests or 0) / count, 1000 * ours.seconds / count) for count in counts]
    return job.name, size_name, *(f"{requests:.3g} / {milliseconds:.3g}" for requests, milliseconds in costs)


def _measured(results: Results, job: str, way: str) -> Measurement | None:
    return results.get(job, {}).get(way)
