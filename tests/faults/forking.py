"""A process that has loaded the flows, and forks another for each run that it is asked for: one that may be killed.

Started anew, each run would first spend seconds on its imports.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = ("auto_pause", "cleanup", "lifecycle", "reconcile")


class Forking:
    """`pid` is that of the run that goes on now."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.pid = 0

    def run(self, entry: str, parameters: Mapping[str, Any]) -> int:
        """How the process of the run ended: its exit code, negative where a signal ended it."""
        self.begin(entry, parameters)
        return int(self._line())

    def begin(self, entry: str, parameters: Mapping[str, Any]) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps([entry, dict(parameters)]) + "\n")
        self.process.stdin.flush()
        self.pid = int(self._line())

    def _line(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "the process that forks has ended"
        return line


@contextmanager
def forking(environment: Mapping[str, str]) -> Iterator[Forking]:
    command = [sys.executable, "-m", "tests.faults.forking"]
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    process = subprocess.Popen(
        command, env=dict(environment), cwd=ROOT, stdin=pipe, stdout=pipe, stderr=nothing, text=True
    )
    try:
        yield Forking(process)
    finally:
        process.kill()
        process.wait()


def main() -> None:
    from prefect.flows import load_flow_from_entrypoint  # noqa: PLC0415 - only where it is run

    flows = {each: load_flow_from_entrypoint(f"flows/{each}.py:{each}", use_placeholder_flow=False) for each in ENTRIES}
    for line in sys.stdin:
        entry, parameters = json.loads(line)
        if (pid := os.fork()) == 0:
            os.dup2(2, 1)
            asyncio.run(flows[entry](**parameters, return_state=True))
            os._exit(0)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
