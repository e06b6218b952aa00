"""The preview's page: what will not run and why, load against limits, what limit would do, when it is quiet."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from flows.policy.forecast import Expectation, Standing
from flows.policy.foreseen import MAINTENANCE, PoolPreview, Preview
from flows.policy.upcoming import DATES_COUNTED
from flows.policy.words import counted, lasting, some_of
from flows.report.markdown import artifact_link, capped, deployment_link, pool_link, run_link, sections, table, text
from flows.report.page import VERDICT
from flows.report.picture import Bars, draw, image
from flows.report.timeline import timeline_picture

ROWS_ON_PAGE = 50
PICTURES = 5
NEXT_RUNS = 10
QUIET_TIMES = 3
ONE_DAY = 24
NEEDS_A_LOOK = (Standing.LATE, Standing.BLOCKED)


def preview_page(preview: Preview, verdict: str, expectations: Sequence[Expectation], table_key: str) -> str:
    every_row = artifact_link(f"table of {counted(len(expectations), 'run')}", table_key)
    return sections(
        f"**{text(verdict, longest=VERDICT)}**",
        _in_the_way(preview, expectations),
        _timeline(preview, expectations),
        _pictures(preview),
        _pools(preview),
        _over_the_limit(preview),
        _quiet(preview),
        _next(preview, expectations),
        f"The {every_row} can be searched." if expectations else "",
        _left_out(preview),
        _footnote(preview),
    )


def _in_the_way(preview: Preview, expectations: Sequence[Expectation]) -> str:
    """Late and blocked runs; those of one deployment that the same stands in the way of make one line."""
    groups: dict[tuple[object, ...], list[Expectation]] = {}
    for each in expectations:
        if each.standing in NEEDS_A_LOOK:
            key = (each.standing, each.run.pool, each.run.deployment_id, each.reason)
            groups.setdefault(key, []).append(each)
    if not groups:
        return ""
    rows = [_group(preview, group) for group in list(groups.values())[:ROWS_ON_PAGE]]
    headers = ["Work pool", "Runs", "Why", "Deployment", "First due", "Expected"]
    if not any(each.expected_start_at for group in groups.values() for each in group):
        # The page is narrow, and a column without a single time says nothing.
        headers, rows = headers[:-1], [row[:-1] for row in rows]
    return capped("## Late and blocked\n\n" + table(headers, rows), len(groups), ROWS_ON_PAGE)


def _group(preview: Preview, group: Sequence[Expectation]) -> list[str]:
    first = group[0]
    runs = f"{len(group)} {first.standing}"
    if len(group) == 1 and first.run.id:
        runs = f"{first.standing}: {run_link(first.run.name, first.run.id)}"
    expected = [each.expected_start_at for each in group if each.expected_start_at]
    return [
        pool_link(first.run.pool) if first.run.pool else "–",
        runs,
        text(first.reason),
        _deployment(preview, first),
        _time(preview, first.run.due_at),
        _time(preview, max(expected)) if expected else "–",
    ]


def _deployment(preview: Preview, each: Expectation) -> str:
    deployment = preview.facts.deployments.get(each.run.deployment_id or "")
    return deployment_link(deployment.name, deployment.id) if deployment else "–"


def _timeline(preview: Preview, expectations: Sequence[Expectation]) -> str:
    picture = timeline_picture(preview, expectations)
    zone = preview.question.zone.key
    note = (
        f"Which deployment runs when, as long as its runs usually take; times in {zone}. Thin: it waits for a slot. "
        "Strokes that are marked as stopped: late or blocked, and nobody can say for how long."
    )
    return sections("## Next hours", note, picture) if picture else ""


def _pictures(preview: Preview) -> str:
    """The busiest pools: those that want most slots beyond their limit, then those that want most."""
    wanted = {pool.state.pool.name: preview.slots_wanted(pool) for pool in preview.pools}

    def rank(pool: PoolPreview) -> tuple[int, int, str]:
        most = max(wanted[pool.state.pool.name])
        limit = pool.state.pool.concurrency_limit
        return (-max(0, most - limit) if limit is not None else 0, -most, pool.state.pool.name)

    busiest = [pool for pool in sorted(preview.pools, key=rank) if any(wanted[pool.state.pool.name])][:PICTURES]
    if not busiest:
        return ""
    zone = preview.question.zone
    form = "%H:%M" if preview.question.hours <= ONE_DAY else "%d %b %Hh"
    labels = [f"{edge.astimezone(zone):{form}}" for edge in preview.stretches[:-1]]
    pictures = []
    for pool in busiest:
        name, limit = pool.state.pool.name, pool.state.pool.concurrency_limit
        values = wanted[name]
        against = "no limit" if limit is None else f"limit {limit}"
        alternative = f"Slots wanted by {name} over time: at most {max(values)}, {against}."
        pictures.append(image(draw(Bars(f"{name}: slots wanted", labels, values, limit)), alternative))
    return sections(
        "## Load against the limit",
        f"The most slots wanted at once, if every run started when it is due; times in {zone.key}.",
        *pictures,
    )


def _pools(preview: Preview) -> str:
    pools = sorted(preview.pools, key=lambda pool: (-len(pool.expectations), pool.state.pool.name))
    rows = [_pool(preview, pool) for pool in pools[:ROWS_ON_PAGE]]
    headers = [
        "Work pool",
        "Runs",
        "Will wait",
        "Late",
        "Blocked",
        "Slots wanted / limit",
        "Limit that would do",
        "Judged from",
    ]
    wait = lasting(preview.question.acceptable_wait)
    note = (
        f"The limit that would do is the smallest at which no run waits longer than {wait}, if runs take as long as "
        "nine of ten took. “At least”: of some deployments no past run tells how long theirs take."
    )
    return sections(capped("## Work pools\n\n" + table(headers, rows), len(pools), ROWS_ON_PAGE), note)


def _pool(preview: Preview, pool: PoolPreview) -> list[str]:
    waiting = pool.count(Standing.WILL_WAIT)
    limit = pool.state.pool.concurrency_limit
    longest = f" (up to {lasting(pool.longest_wait)})" if pool.longest_wait else ""
    if preview.question.what_if_limit is not None and pool.longest_wait != pool.longest_wait_as_it_is:
        longest += f", now up to {lasting(pool.longest_wait_as_it_is)}"
    return [
        pool_link(pool.state.pool.name),
        str(len(pool.expectations)),
        f"{waiting}{longest}",
        str(pool.count(Standing.LATE)),
        str(pool.count(Standing.BLOCKED)),
        f"{max(preview.slots_wanted(pool))} / {'–' if limit is None else limit}",
        _sizing(pool),
        _judged_from(pool),
    ]


def _sizing(pool: PoolPreview) -> str:
    if pool.sizing is None:
        return "–"
    sizing = pool.sizing
    words = f"at least {sizing.limit}" if sizing.is_lower_bound else str(sizing.limit)
    if sizing.extra is None:
        return f"**{words}** (none is set)"
    if sizing.extra == 0:
        return f"{words} (as now)"
    change = f"{abs(sizing.extra)} {'more' if sizing.extra > 0 else 'fewer'} than now"
    return f"**{words}** ({change})" if sizing.extra > 0 else f"{words} ({change})"


def _judged_from(pool: PoolPreview) -> str:
    unknown = pool.demand.unknown
    if not pool.expectations:
        return "–"
    known = counted(pool.demand.past_runs, "past run")
    return f"{known}; unknown: {text(some_of(unknown))}" if unknown else known


def _over_the_limit(preview: Preview) -> str:
    rows = []
    for pool in preview.pools:
        limit = pool.state.pool.concurrency_limit
        if limit is None:
            continue
        for (begin, end), most in zip(pairwise(preview.stretches), preview.slots_wanted(pool), strict=True):
            if most > limit:
                rows.append([pool_link(pool.state.pool.name), _span(preview, begin, end), f"{most} of {limit}"])
    if not rows:
        return ""
    page = "## When demand exceeds the limit\n\n" + table(
        ["Work pool", "From – to", "Slots wanted"], rows[:ROWS_ON_PAGE]
    )
    return capped(page, len(rows), ROWS_ON_PAGE)


def _quiet(preview: Preview) -> str:
    """When maintenance disturbs nobody: of all these pools together, and of each."""
    rows = [["all of these", _windows(preview, preview.pools)]] if len(preview.pools) > 1 else []
    rows += [[pool_link(pool.state.pool.name), _windows(preview, [pool])] for pool in preview.pools[:ROWS_ON_PAGE]]
    heading = f"## Quiet for at least {lasting(MAINTENANCE)}\n\n"
    return capped(heading + table(["Work pool", "No run is due or runs"], rows), len(preview.pools), ROWS_ON_PAGE)


def _windows(preview: Preview, pools: Sequence[PoolPreview]) -> str:
    windows = preview.quiet(pools)[:QUIET_TIMES]
    if windows:
        return "<br>".join(f"{_span(preview, *window)} ({lasting(window[1] - window[0])})" for window in windows)
    least = preview.least_busy(pools)
    return (
        f"never; least busy {_span(preview, *least[:2])}, with {counted(least[2], 'slot')} wanted" if least else "never"
    )


def _span(preview: Preview, begin: datetime, end: datetime) -> str:
    zone = preview.question.zone
    same_day = begin.astimezone(zone).date() == end.astimezone(zone).date()
    return (
        f"{_time(preview, begin)} – {end.astimezone(zone):%H:%M}"
        if same_day
        else (f"{_time(preview, begin)} – {_time(preview, end)}")
    )


def _next(preview: Preview, expectations: Sequence[Expectation]) -> str:
    coming = [each for each in expectations if each.standing not in NEEDS_A_LOOK][:NEXT_RUNS]
    rows = [
        [
            _time(preview, each.run.due_at),
            pool_link(each.run.pool) if each.run.pool else "–",
            _deployment(preview, each),
            run_link(each.run.name, each.run.id) if each.run.id else "not made yet",
            text(each.reason) or "starts when due",
        ]
        for each in coming
    ]
    return "## Next\n\n" + table(["Due", "Work pool", "Deployment", "Run", ""], rows) if rows else ""


def _left_out(preview: Preview) -> str:
    facts, found = preview.facts, []
    if facts.paused_deployments:
        found.append(f"{counted(facts.paused_deployments, 'paused deployment')}: no runs are made of them.")
    if facts.paused_schedules:
        found.append(f"{counted(facts.paused_schedules, 'inactive schedule')} of other deployments.")
    for schedule in facts.schedules:
        deployment = facts.deployments[schedule.deployment_id]
        where = deployment_link(deployment.name, deployment.id)
        if schedule.unreadable:
            found.append(f"A schedule of {where} that cannot be read: {text(schedule.unreadable)}.")
        if schedule.beyond:
            last = _time(preview, schedule.dates[-1])
            at_least = "at least " if schedule.beyond >= DATES_COUNTED else ""
            found.append(f"{at_least}{schedule.beyond} runs of {where} that are due after {last}: too many to list.")
    found += [f"Deployments of flow {text(flow)} that the server itself cannot read." for flow in facts.unreadable]
    if preview.unlisted:
        found.append(f"{preview.unlisted} runs that are due after those in the table: too many to list.")
    found += [f"{text(name)}: deleted while it was read." for name in facts.gone]
    return "## Left out\n\n" + "\n".join(f"- {each}" for each in found) if found else ""


def _footnote(preview: Preview) -> str:
    now, zone = preview.facts.now, preview.question.zone
    return (
        f"Made at {now.astimezone(zone):%Y-%m-%d %H:%M:%S} ({zone.key}); the table is in UTC. A worker takes a few "
        "seconds more to notice a run and to start it. Nothing was changed."
    )


def _time(preview: Preview, at: datetime) -> str:
    return f"{at.astimezone(preview.question.zone):%a %d %b %H:%M}"
