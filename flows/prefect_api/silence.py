"""How long another run has given no sign of life, by which one that has died is known."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import anyio

from flows.prefect_api.client import Api


@dataclass(frozen=True, slots=True)
class Silence:
    """Of another run, since its last sign of life, or since this run began to listen for one."""

    api: Api
    begun: float = field(default_factory=anyio.current_time)

    async def since(self, sign_at: datetime) -> timedelta:
        # A server's clock that was set back would have all wait for it; this one is never set.
        listened = timedelta(seconds=anyio.current_time() - self.begun)
        return max(listened, await self.api.server_time() - sign_at)
