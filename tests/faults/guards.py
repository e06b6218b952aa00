"""Take each guard out of a copy of the project, and see that its test fails.

    python -m tests.faults.guards

It takes some minutes, writes GUARDS.md, and fails where a test passes without the guard that it is about.
"""

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, run

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).parent / "GUARDS.md"
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", "node_modules")
HEAD = """# Guards and the tests that miss them

Each guard was taken out of the code, alone, and the test that is about it was run: it failed. With the guard it passes.

```sh
.venv/bin/python -m tests.faults.guards
```

"""


@dataclass(frozen=True, slots=True)
class Guard:
    """`code` of a file is what guards, `without` what is left when it is taken out."""

    what: str
    file: str
    code: str
    without: str
    test: str


GUARDS = (
    Guard(
        "Limits are checked before the first change",
        "flows/apply.py", "        acting.check()\n", "",
        "tests/server/test_apply.py::test_a_plan_over_its_limit_is_refused_whole_and_can_still_be_read",
    ),
    Guard(
        "What is protected is never touched, whatever a rule says",
        "flows/apply.py", "        acting.protection.check(plan)\n", "",
        "tests/server/test_apply.py::test_nothing_is_done_where_a_plan_would_touch_what_is_protected",
    ),
    Guard(
        "A failure is never reported as success",
        "flows/apply.py", "return Failed(message=verdict) if failed else", "return",
        "tests/server/test_apply.py::test_one_failure_does_not_stop_the_rest_and_fails_the_run",
    ),
    Guard(
        "A person's pause is never ended",
        "flows/policy/breaker.py",
        "if not case.gate.is_paused or case.gate.is_taken_over:", "if not case.gate.is_paused:",
        "tests/server/test_auto_pause_people.py"
        "::test_a_pool_that_a_person_paused_anew_while_it_was_open_is_never_resumed",
    ),
    Guard(
        "Each target is read again just before it is changed",
        "flows/prefect_api/turning.py",
        "return (then.is_paused, then.limit, then.description) !=", "return False and 0 !=",
        "tests/server/test_auto_pause_faults.py::test_a_pool_that_a_person_pauses_at_the_last_moment_is_left_to_them",
    ),
    Guard(
        "A write that the server carries out late is told from a person's",
        "flows/prefect_api/auto_pause.py", "gate = replace(gate, is_late=await late)", "late.close()",
        "tests/server/test_late_writes.py::test_a_pause_that_comes_after_it_was_closed_ends",
    ),
    Guard(
        "A turn that a killed run left undone is taken up",
        "flows/policy/settling.py",
        "if _took_effect(last, by_step[earlier[-1]] if earlier else None, gate):", "if False:",
        "tests/faults/test_death.py::test_what_a_killed_run_left_is_finished_or_undone[auto-pause: pause]",
    ),
    Guard(
        "A run is deleted only while it is as it was seen",
        "flows/prefect_api/deleting_runs.py", ', "state": state, "end_time": bounds}', "}",
        "tests/server/test_cleanup.py::test_what_changed_since_it_was_planned_is_left_alone",
    ),
    Guard(
        "What is deleted is archived first",
        "flows/prefect_api/unused.py",
        "kept = await self.archive(self.api, pool, name, reason=verdict.reason, now=scope.now)", 'kept = ""',
        "tests/server/test_unused.py::test_a_queue_that_cannot_be_archived_stays",
    ),
    Guard(
        "Lists are complete, also where they change between two pages",
        "flows/prefect_api/paging.py", 'if offset and (not page or page[0]["id"] not in made):', "if False:",
        "tests/test_paging.py::test_misses_no_row_that_was_there_all_the_time",
    ),
    Guard(
        "The server's clock is the one that counts",
        "flows/prefect_api/client.py",
        "return parsedate_to_datetime(stamp).astimezone(UTC) + SECOND if stamp else", "return",
        "tests/faults/test_clocks.py::TestTheServersClockIsTheOneThatCounts",
    ),
    Guard(
        "Nobody waits for a time that a clock was set back from",
        "flows/prefect_api/touches.py", "min(EVENTS_TAKE, EVENTS_TAKE - (now - touched_at))",
        "EVENTS_TAKE - (now - touched_at)",
        "tests/faults/test_clocks.py"
        "::test_what_failed_before_the_clock_was_set_back_counts_and_the_pause_ends_by_the_new_time",
    ),
    Guard(
        "The server ends own runs that nobody works on",
        "deployments/automations.yaml", "      - prefect.flow-run.Pending\n", "",
        "tests/faults/test_self_care.py::test_runs_that_a_dead_worker_had_claimed_do_not_wedge_it",
    ),
    Guard(
        "No text of a template is shown",
        "flows/policy/redaction.py", 'return "set, not shown" if default else "empty"', "return str(default)",
        "tests/faults/test_secrets.py",
    ),
    Guard(
        "A name is one line that can be seen",
        "flows/policy/words.py", 'return " ".join(INVISIBLE.sub(" ", str(value)).split())', "return str(value)",
        "tests/faults/test_injection.py::test_every_job_does_its_work_on_such_names_and_none_is_more_than_text[templates]",
    ),
)  # fmt: skip


def fails_without(guard: Guard, copy: Path) -> bool:
    """Whether the test fails in the copy, which is as before afterwards."""
    file = copy / guard.file
    text = file.read_text()
    if text.count(guard.code) != 1:
        raise SystemExit(f"{guard.file} has {text.count(guard.code)} times, not once: {guard.code}")
    file.write_text(text.replace(guard.code, guard.without))
    # Commands that tests start are to be the copy's as well.
    environment = os.environ | {"PYTHONPATH": str(copy)}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-m", "", "-q", "-x", guard.test]
    try:
        # 1: tests were run and one failed. Any other code would be a mistake of this list.
        return run(command, cwd=copy, env=environment, check=False, stdout=DEVNULL).returncode == 1
    finally:
        file.write_text(text)


def main() -> int:
    passed = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
        for guard in GUARDS:
            fails = fails_without(guard, copy)
            print(f"{'fails' if fails else 'PASSES'} without it: {guard.what}", flush=True)
            passed += [] if fails else [guard.what]
    if not passed:
        rows = [f"| {each.what} | `{each.file}` | `{each.test.rpartition('/')[2]}` |" for each in GUARDS]
        TABLE.write_text(HEAD + "\n".join(["| Guard | In | Its test |", "|---|---|---|", *rows]) + "\n")
    return int(bool(passed))


if __name__ == "__main__":
    sys.exit(main())
