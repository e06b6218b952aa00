"""Processes that live as long as the command that started them, and not longer."""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

# A worker first ends its runs and says so to the server.
SECONDS_TO_STOP = 20.0
LINES_SHOWN = 20


class ProcessEnded(Exception):
    """A process that should have gone on has ended; the message has its last words."""


class Child:
    """A process in a group of its own, so that a Ctrl-C reaches only the command, which then stops it in order."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    async def ended(self) -> ProcessEnded:
        """Wait until the process ends by itself, and return that as a problem."""
        code = await self._process.wait()
        return ProcessEnded(f"The {self.name} ended with code {code}. Its last words:\n{self.last_words()}")

    def last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(lines[-LINES_SHOWN:]) or "(none)"

    async def stop(self) -> None:
        """Ask it to stop, wait, and then end whatever is left of its group."""
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), SECONDS_TO_STOP)
            except TimeoutError:
                self._kill_group()
                await self._process.wait()
        self._kill_group()

    def _kill_group(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


@asynccontextmanager
async def running(
    name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None
) -> AsyncIterator[Child]:
    """The command as a child process for the length of the block. Its output is kept aside for the case it fails."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "output"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=cwd, env=dict(env), stdout=output, stderr=output, start_new_session=True
            )
        child = Child(name, process, log)
        try:
            yield child
        finally:
            await asyncio.shield(child.stop())
