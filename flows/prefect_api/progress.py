"""The progress bar on a run's page."""

from dataclasses import dataclass
from typing import Any

import anyio
from prefect.runtime import flow_run

from flows.prefect_api.client import Api, NotFound

PROGRESS_SECONDS = 2.0


@dataclass(slots=True)
class Progress:
    """The bar that is kept under the key, moved every few seconds at most."""

    api: Api
    key: str
    artifact_id: str = ""
    shown_at: float = 0.0

    async def show(self, percent: float, words: str, *, always: bool = False) -> None:
        """Move it there, with these words beside it."""
        now = anyio.current_time()
        if not always and now - self.shown_at < PROGRESS_SECONDS:
            return
        self.shown_at = now
        try:
            if self.artifact_id:
                body = {"data": percent, "description": words}
                await self.api.write("PATCH", f"/artifacts/{self.artifact_id}", body)
                return
        except NotFound:
            pass
        run_id = flow_run.get_id()
        new: dict[str, Any] = {"key": self.key, "type": "progress", "data": percent, "description": words}
        new |= {"flow_run_id": run_id} if run_id else {}
        self.artifact_id = str((await self.api.write("POST", "/artifacts/", new))["id"])
