"""One pool inspected: its settings, what holds its slots, why each late run is late."""

from datetime import datetime

from flows.policy.fleet import PoolState
from flows.policy.obstacles import obstacles
from flows.policy.stuck import stuck_runs
from flows.report.markdown import bar, capped, moment, plain, pool_link, run_link, sections, table, text
from flows.report.observed import Inventory, changes_section, footnote
from flows.report.page import VERDICT

RUNS_ON_PAGE = 50
WORKERS_ON_PAGE = 50


def pool_verdict(inventory: Inventory) -> str:
    (state,) = inventory.facts.fleet.pools
    codes = ", ".join(finding.code for finding in inventory.found(state))
    return plain(f"{state.pool.name}: {codes or 'nothing to look at'}", longest=VERDICT)


def pool_page(inventory: Inventory) -> str:
    (state,) = inventory.facts.fleet.pools
    findings = [f"- **{finding.code}**: {text(finding.text)}" for finding in inventory.found(state)]
    return sections(
        f"**{pool_link(state.pool.name)}: {text(pool_verdict(inventory).rpartition(': ')[2])}**",
        "\n".join(findings),
        _settings(state),
        _slots(state, inventory.facts.now),
        _late(state, inventory),
        _queues(state),
        _workers(state, inventory.facts.now),
        _template(state),
        changes_section(inventory),
        footnote(inventory),
    )


def _settings(state: PoolState) -> str:
    rows = [
        ["Type", text(state.pool.type)],
        ["Status", text(state.pool.status or "–")],
        ["Paused", "yes" if state.pool.is_paused else "no"],
        ["Slots in use", bar(len(state.active), state.pool.concurrency_limit)],
        ["Deployments", str(state.deployments)],
        ["Failed of finished runs", f"{state.failed} of {state.finished}"],
    ]
    return "## Settings\n\n" + table(["Setting", "Value"], rows)


def _slots(state: PoolState, now: datetime) -> str:
    if not state.active:
        return "## What holds the slots\n\nNothing: no run of this pool is pending or running."
    stuck = {run.id for run in stuck_runs(state, now)}
    queues: dict[str | None, str] = {queue.id: queue.name for queue in state.queues}
    rows = [
        [
            run_link(run.name, run.id),
            text(queues.get(run.queue_id, "–")),
            text(run.state_name) + (" – **looks stuck**" if run.id in stuck else ""),
            moment(run.since),
        ]
        for run in sorted(state.active, key=lambda run: run.since)[:RUNS_ON_PAGE]
    ]
    page = "## What holds the slots\n\n" + table(["Run", "Queue", "State", "Since"], rows)
    return capped(page, len(state.active), RUNS_ON_PAGE)


def _late(state: PoolState, inventory: Inventory) -> str:
    if not inventory.facts.late_runs:
        return "## Late runs\n\nNone."
    oldest_first = sorted(inventory.facts.late_runs, key=lambda run: run.expected_start_at or run.since)
    rows = []
    for run in oldest_first[:RUNS_ON_PAGE]:
        why = obstacles(run, state, inventory.facts.deployments, inventory.facts.now)
        words = "; ".join(why) or "nothing stands in its way: a worker should start it within seconds"
        rows.append([run_link(run.name, run.id), moment(run.expected_start_at or run.since), text(words)])
    page = "## Late runs\n\n" + table(["Run", "Expected", "Why it has not started"], rows)
    return capped(page, max(state.late, len(oldest_first)), len(rows))


def _queues(state: PoolState) -> str:
    rows = [
        [
            text(queue.name),
            str(queue.priority),
            "none" if queue.concurrency_limit is None else str(queue.concurrency_limit),
            "paused" if queue.is_paused else text(queue.status or "–"),
            moment(queue.last_polled_at),
        ]
        for queue in state.queues
    ]
    return "## Work queues\n\n" + table(["Queue", "Priority", "Limit", "Status", "Last polled"], rows)


def _workers(state: PoolState, now: datetime) -> str:
    if not state.workers:
        return "## Workers\n\nNone has ever asked this pool for work."
    newest_first = sorted(state.workers, key=lambda worker: (worker.last_heartbeat_at is None, worker.name))
    rows = [
        [text(worker.name), "online" if worker.is_online(now) else "offline", moment(worker.last_heartbeat_at)]
        for worker in newest_first[:WORKERS_ON_PAGE]
    ]
    return "## Workers\n\n" + table(["Worker", "Status", "Last heartbeat"], rows)


def _template(state: PoolState) -> str:
    template = state.pool.template
    if not template.variables:
        return "## Base job template\n\nIt declares no variables."
    rows = [[text(variable.name), text(variable.type), text(variable.shown)] for variable in template.variables]
    return "## Base job template\n\nText values are never shown here.\n\n" + table(
        ["Variable", "Type", "Default"], rows
    )
