"""An export as a page: the spec to copy, and what to know about it."""

import re

from flows.policy.reconcile.export import Export
from flows.policy.words import counted, some_of
from flows.report.markdown import plain, sections, text
from flows.report.page import VERDICT, Report, Row

# A page of the UI shows this much text without trouble.
LONGEST = 500_000


def export_header(export: Export) -> str:
    """What is said above the spec itself, as comments."""
    lines = [
        "Work pools as code, for pool-reconcile. What is not named here is not looked at: take out what you do not",
        "want to keep in line. Whether a work pool is paused is left to people, unless you name it (is_paused: false).",
    ]
    if export.secrets:
        left_out = counted(export.secrets, "secret")
        lines.append(f"{left_out} left out and marked. A mark means: keep what is there; better, refer to a block.")
    return "\n".join(lines)


def export_report(export: Export, written: str, shown: int) -> Report:
    """The page with the YAML; `shown` is how many of the work pools are in it."""
    more = f", {counted(export.secrets, 'secret')} left out" if export.secrets else ""
    verdict = plain(f"Exported {counted(len(export.pools), 'work pool')}{more}. Nothing was changed.", longest=VERDICT)
    cut = (
        f"Only the first {shown} of {len(export.pools)} work pools are here: more make the page too long. "
        "`poolkeeper export` writes them all."
        if shown < len(export.pools)
        else ""
    )
    omitted = (
        f"Left out, as no spec may hold them: {text(some_of(export.omitted, shown=10))}." if export.omitted else ""
    )
    page = sections(
        f"**{text(verdict, longest=VERDICT)}**",
        "Copy it into a file such as `deployments/pools.yaml`, and run `pool-reconcile` with that as its `spec`.",
        omitted,
        cut,
        _fenced(written),
    )
    rows: tuple[Row, ...] = tuple(
        {"pool": pool.name, "type": pool.type, "base_job_template": pool.template, "secrets_left_out": pool.secrets}
        for pool in export.pools
    )
    return Report(verdict, page, rows)


def _fenced(written: str) -> str:
    """A block that nothing in it can end."""
    longest = max((len(ticks) for ticks in re.findall("`+", written)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}yaml\n{written.rstrip()}\n{fence}"
