"""Flows and commands in processes of their own on one server, and every letter that they print."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.processes import flow_process
from tests.rest import Rest
from tests.server.test_commands import poolkeeper

SECONDS_FOR_A_FLOW = 120
SHOWN_OF_A_FAILURE = 4000


@dataclass
class Transcript:
    rest: Rest
    environment: dict[str, str]
    folder: Path
    printed: dict[str, str] = field(default_factory=dict)

    def run(self, entry: str, end: str = "COMPLETED", **parameters: Any) -> str:
        """What a flow prints, which has to end like that."""
        process = flow_process(entry, parameters, self.environment)
        text = process.communicate(timeout=SECONDS_FOR_A_FLOW)[0]
        self._keep(entry, text)
        assert any(line.startswith(f"{end} ") for line in text.splitlines()), text[-SHOWN_OF_A_FAILURE:]
        return text

    def command(self, words: str) -> str:
        """What a `poolkeeper` command prints to be read or piped on."""
        done = poolkeeper(words, self.environment)
        self._keep(words, done.stdout + done.stderr)
        return done.stdout

    def _keep(self, what: str, text: str) -> None:
        self.printed[f"{len(self.printed)} {what}"] = text
