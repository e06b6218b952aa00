"""A cleanup as a picture: how much there is to clear away, or was cleared away, by kind and by age."""

from collections import Counter
from collections.abc import Sequence

from flows.policy.cleanup.ages import AGES, told_age
from flows.policy.cleanup.decision import rule_of
from flows.policy.plan import Outcome, Result
from flows.report.picture import RIGHT, WIDTH, image, sheet, words

LINE, BAR, TOP, BOTTOM = 24, 12, 56, 12
NAME_AT, CELLS_AT = 16, 200
LONGEST_BAR, MANY = 40, 10_000
NO_AGE = "no age"
TITLES = {Result.PLANNED: "To be cleared away", Result.DONE: "Cleared away"}


def cleanup_picture(outcomes: Sequence[Outcome]) -> str:
    """The picture as HTML for a report: of what is planned or, once it was carried out, of what is done. Nothing where
    there is neither."""
    results = {outcome.result for outcome in outcomes}
    shown = Result.PLANNED if results == {Result.PLANNED} else Result.DONE
    counts = Counter(
        (rule_of(each.verdict), told_age(each.verdict) or NO_AGE) for each in outcomes if each.result is shown
    )
    if not counts:
        return ""
    kinds = list(dict.fromkeys(rule_of(each.verdict) for each in outcomes if each.result is shown))
    ages = [age for age in (*AGES, NO_AGE) if age in AGES or any(counts[kind, age] for kind in kinds)]
    title = f"{TITLES[shown]}, by kind and age"
    parts = [words(NAME_AT, 22, title, kind="title")]
    parts += [words(_x(place, len(ages)), 46, age) for place, age in enumerate(ages)]
    for row, kind in enumerate(kinds):
        y = TOP + row * LINE
        parts.append(words(NAME_AT, y + BAR - 1, kind.replace("-", " ")))
        for place, age in enumerate(ages):
            parts += _cell(_x(place, len(ages)), y, counts[kind, age], max(counts.values()))
    told = "; ".join(_told(kind, ages, counts) for kind in kinds)
    return image(sheet(title, parts, TOP + len(kinds) * LINE + BOTTOM), f"{title}: {told}")


def _x(place: int, columns: int) -> float:
    return CELLS_AT + (WIDTH - RIGHT - CELLS_AT) / columns * place


def _cell(x: float, y: int, count: int, most: int) -> list[str]:
    """A bar as long as its share of the longest, and the number beside it; a stroke where there is none."""
    if not count:
        return [f"<rect class='quiet' x='{x:.1f}' y='{y}' width='2' height='{BAR}'/>"]
    length = max(2.0, LONGEST_BAR * count / most)
    bar = f"<rect class='within' x='{x:.1f}' y='{y}' width='{length:.1f}' height='{BAR}' rx='2'/>"
    return [bar, words(x + length + 5, y + BAR - 1, _short(count))]


def _short(count: int) -> str:
    """Of very many only the thousands, for there is no room for more."""
    return f"{count:,}" if count < MANY else f"{count / 1000:,.0f}k"


def _told(kind: str, ages: Sequence[str], counts: Counter[tuple[str, str]]) -> str:
    found = [f"{counts[kind, age]:,} {age}" for age in ages if counts[kind, age]]
    return f"{kind.replace('-', ' ')}: {', '.join(found)}"
