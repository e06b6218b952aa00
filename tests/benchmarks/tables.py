"""What was measured, as Markdown."""

from collections.abc import Iterator, Mapping, Sequence

from tests.benchmarks.bars import GROWING, Verdict, unit_costs
from tests.benchmarks.fleet import SIZES
from tests.benchmarks.measure import OURS, Job, Measurement, Results, Rounds

HEADINGS = ("job", "way", "requests", "seconds", "times poolkeeper", "MB above import prefect")


def print_results(heading: str, measured: Mapping[str, Rounds], results: Results) -> None:
    print(f"\n## {heading}\n")
    print_table(HEADINGS, [_row(job, way, ways) for job, ways in results.items() for way in ways])
    print()
    for job, ways in results.items():
        for way, each in ways.items():
            if each is not None:
                print(f"- {job}, {way}: {'; '.join(_notes(each, len(measured[job][way])))}")


def _row(job: str, way: str, ways: Mapping[str, Measurement | None]) -> tuple[str, ...]:
    measured, ours = ways[way], ways[OURS]
    if measured is None:
        return job, way, "", "failed", "", ""
    return (
        job,
        way,
        "" if measured.requests is None else f"{measured.requests:,}",
        f"{measured.seconds:.2f}",
        "" if ours is None else f"{measured.seconds / ours.seconds:.2f}",
        f"{measured.mb_above_import:.0f}",
    )


def _notes(measured: Measurement, rounds: int) -> Iterator[str]:
    yield f"{rounds} round{'s' if rounds > 1 else ''}"
    if len(measured.parts) > 1:
        yield ", ".join(f"{part} {seconds:.2f} s" for part, seconds in measured.parts.items())
    if measured.note:
        yield measured.note
    if measured.totals:
        yield ", ".join(f"{name} {number}" for name, number in measured.totals.items())


def print_cost(results: Mapping[str, Results], jobs: Sequence[Job]) -> None:
    print("\n## What poolkeeper costs for each (requests / milliseconds)\n")
    rows = [
        unit_costs(job, size, ours)
        for job in jobs
        for size in SIZES
        if job.name in GROWING and size in results and (ours := results[size][job.name][OURS]) is not None
    ]
    print_table(("job", "size", "work pool", "deployment", "run in the window"), rows)


def print_verdicts(verdicts: Sequence[Verdict]) -> None:
    print("\n## Bars\n")
    print_table(("job", "size", "what", "bar", "measured", "reached"), [verdict.row for verdict in verdicts])


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for cells in (headings, ("---",) * len(headings), *rows):
        print(f"| {' | '.join(cells)} |")
