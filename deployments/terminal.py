"""What a person sees while a command works, and at its end."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.policy.server_health import Check
from flows.policy.words import INVISIBLE, one_line

# Beyond this many pools the terminal shows those that need attention, and the report the rest.
ROWS_SHOWN = 30
HOURS_SHOWN = 6


def flat(text: str) -> str:
    """On one line, whatever is in a name, and not as rich's markup."""
    return escape(one_line(text))


def lines(text: str) -> str:
    """The same, with the text's own line ends."""
    return "\n".join(escape(INVISIBLE.sub(" ", line)) for line in text.split("\n"))


class Terminal:
    """Lines of what is being done and of what is done. Without a terminal there is no colour and no movement."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stdout, highlight=False)

    @contextmanager
    def working(self, what: str) -> Iterator[Callable[[str], None]]:
        """Say what is being done while it is done; call what is yielded to say how far it is."""
        if self.console.is_terminal:
            with self.console.status(f"{flat(what)} …") as status:
                yield lambda progress: status.update(f"{flat(progress)} …")
            return
        said = [what]
        self.console.print(f"… {flat(what)}", soft_wrap=True)

        def say(progress: str) -> None:
            if progress != said[-1]:
                said.append(progress)
                self.console.print(f"… {flat(progress)}", soft_wrap=True)

        yield say

    def done(self, what: str, outcome: str) -> None:
        self.console.print(f"[green]✓[/green] {flat(what)}: {flat(outcome)}", soft_wrap=True)

    def warn(self, text: str) -> None:
        self.console.print(f"[yellow]![/yellow] {flat(text)}", soft_wrap=True)

    def fail(self, text: str) -> None:
        self.console.print(f"[red]✗[/red] {lines(text)}", soft_wrap=True)

    def check(self, check: Check) -> None:
        """One line of the doctor, and under it what to do where something is wrong."""
        if check.is_well:
            self.done(check.what, check.found)
        else:
            self.fail(one_line(f"{check.what}: {check.found}"))
            self.console.print(f"  [bold]→[/bold] {flat(check.todo)}", soft_wrap=True)

    def say(self, text: str = "") -> None:
        self.console.print(lines(text), soft_wrap=True)

    def links(self, links: Mapping[str, str]) -> None:
        width = max(map(len, links))
        for label, url in links.items():
            self.console.print(f"  {label:<{width}}  [cyan]{escape(url)}[/cyan]", soft_wrap=True)

    def inventory(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """The inventory's table, narrow enough for 80 columns."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("work pool", overflow="fold")
        for heading in ("slots", "workers", "late", "failed"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("findings", overflow="fold")
        shown = sorted(rows, key=lambda row: row["findings"] == "")[:ROWS_SHOWN]
        for row in shown:
            limit = "–" if row["concurrency_limit"] is None else row["concurrency_limit"]
            table.add_row(
                flat(str(row["pool"])),
                f"{row['active']}/{limit}",
                f"{row['workers_online']}/{row['workers_online'] + row['workers_offline']}",
                str(row["late"]),
                f"{row['failed']}/{row['finished']}",
                escape(row["findings"].replace(", ", " ")),
            )
        self.console.print(table)
        if len(rows) > len(shown):
            self.say(f"… and {len(rows) - len(shown)} more in the report.")

    def preview(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """What is due on each pool in the next hours, by this machine's clock, narrow enough for 80 columns."""
        due = [(datetime.fromisoformat(row["start"]).astimezone(), row) for row in rows]
        first = datetime.now().astimezone().replace(minute=0, second=0, microsecond=0)
        hours = [first + timedelta(hours=ahead) for ahead in range(HOURS_SHOWN)]
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("next hours", overflow="fold")
        for heading in (*(f"{hour:%H}h" for hour in hours), "all", "wait", "late", "blocked"):
            table.add_column(heading, justify="right", no_wrap=True)
        pools = sorted({row["pool"] for row in rows})
        for pool in pools[:ROWS_SHOWN]:
            own = [(at, row["verdict"]) for at, row in due if row["pool"] == pool]
            coming = [at for at, verdict in own if verdict != "late"]
            verdicts = [verdict for _, verdict in own]
            counts = [sum(hour <= at < hour + timedelta(hours=1) for at in coming) for hour in hours]
            ends = [len(own), *(verdicts.count(verdict) for verdict in ("will-wait", "late", "blocked"))]
            table.add_row(flat(pool) or "no work pool", *(str(count or "·") for count in [*counts, *ends]))
        self.console.print(table)
        if len(pools) > ROWS_SHOWN:
            self.say(f"… and {len(pools) - ROWS_SHOWN} more in the report.")
