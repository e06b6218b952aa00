"""One connection to Prefect's API: bounded concurrency, retried reads, errors a person can act on.

Requests go out through Prefect's own client, which knows the address, the credentials, and when a server asks to
wait. Answers are read as plain JSON: decoding them into Prefect's models costs more than fetching them.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit, urlunsplit

import httpx
from prefect.client.base import ServerType
from prefect.client.orchestration import PrefectClient, get_client
from prefect.runtime import flow_run

from flows.prefect_api.answers import is_question, is_understood

# More connections make a Prefect server no faster; this many keep it busy.
CONCURRENT_REQUESTS = 8
# Prefect's client retries what a server says about itself (429, 502, 503) and lost connections. A read may also be
# repeated when the server stumbled over it, which happens while it starts or stops.
STUMBLES = frozenset({500, 504})
STUMBLE_WAITS = (1.0, 2.0, 4.0)
# A server on SQLite has one writer at a time and says 503 to the others. It is free again in no time, while Prefect's
# client would wait for 2, 4, 8, 16 and 32 seconds.
BUSY_WAITS = ("0.1", "0.3", "1", "2", "30")
# The server that has started this run is there: where it takes no connection, it is being started anew. Prefect's
# client waits by itself once it has been connected.
RESTART_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
SECOND = timedelta(seconds=1)
# What someone may do who may send such a request.
RIGHTS = {"GET": "read", "POST": "create", "PATCH": "change", "PUT": "change", "DELETE": "delete"}
LOOK_BETWEEN = "Look what stands between here and the server, and run again."

Facts = TypeVar("Facts")
Method = Literal["GET", "POST", "PATCH", "PUT", "DELETE"]


class ApiProblem(Exception):
    """The API could not be read or written; the message says what to do about it."""


class Unreachable(ApiProblem):
    """No answer from the API."""


class Refused(ApiProblem):
    """The API does not accept who is asking, or what is asked for."""


class AlreadyThere(Refused):
    """Something of that name is there already."""


class ServerFailed(ApiProblem):
    """The server stumbled over its own data, and does so each time it is asked."""


class Garbled(ApiProblem):
    """An answer that cannot be read."""


class NotFound(ApiProblem):
    """The thing asked for is not there (any more)."""


class Api:
    """The open connection. `requests` counts the requests it has made."""

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._free = asyncio.Semaphore(CONCURRENT_REQUESTS)
        self.requests = 0
        self._is_awaited = flow_run.get_id() is not None
        self.is_cloud = client.server_type is ServerType.CLOUD
        self.address = _without_credentials(str(client.api_url))

    async def read(self, path: str, body: dict[str, Any] | None = None, *, patient: bool = True) -> Any:
        """The JSON answer to a question that changes nothing; `body` makes it one of Prefect's POST filters.

        `patient` asks again when the server stumbles.
        """
        method: Method = "GET" if body is None else "POST"
        waits = STUMBLE_WAITS if patient else ()
        return await self._ask(method, path, body, waits, lambda answer: self._understood(path, answer))

    async def write(self, method: Method, path: str, body: dict[str, Any] | None = None) -> Any:
        """Change something, and return the JSON answer (None where there is none)."""
        try:
            answer = await self._send(method, path, body)
        except (httpx.HTTPStatusError, httpx.TransportError) as problem:
            raise self._explain(problem, path) from None
        # Whether it was done is open where the answer cannot be read: what is asked again must not be done twice.
        return self._understood(path, answer) if answer.content else None

    async def server_time(self) -> datetime:
        """The server's clock, by which it stamps heartbeats and states.

        It is told in whole seconds, and rounded up here; a busy server may still tell it a second or two late, so that
        what has just happened can lie after it.
        """
        return await self._ask("GET", "/health", None, STUMBLE_WAITS, _stamped_at)

    async def _ask(
        self,
        method: Method,
        path: str,
        body: dict[str, Any] | None,
        waits: Sequence[float],
        make: Callable[[httpx.Response], Facts],
    ) -> Facts:
        """What is made of the answer to a question, which is asked again as often as there are waits."""
        for wait in (*waits, None):
            try:
                return make(await self._send(method, path, body))
            except httpx.HTTPStatusError as problem:
                if wait is None or problem.response.status_code not in STUMBLES:
                    raise self._explain(problem, path) from None
            except Garbled:
                if wait is None:
                    raise
            except httpx.TransportError as problem:
                raise self._explain(problem, path) from None
            await asyncio.sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _send(self, method: Method, path: str, body: dict[str, Any] | None) -> httpx.Response:
        async with self._free:
            self.requests += 1
            for wait in (*RESTART_WAITS, None):
                try:
                    answer: httpx.Response = await self._client.request(method, path, json=body)  # type: ignore[arg-type]
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    if wait is None or not self._is_awaited:
                        raise
                    await asyncio.sleep(wait)
                    continue
                self._is_awaited = False
                return answer
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _understood(self, path: str, answer: httpx.Response) -> Any:
        try:
            found = json.loads(answer.content)
        except ValueError:
            raise Garbled(f"{self.address}{path} answered with something that is not JSON. {LOOK_BETWEEN}") from None
        if not is_understood(path, found):
            raise Garbled(f"{self.address}{path} answered with something else than was asked for. {LOOK_BETWEEN}")
        return found

    def _explain(self, problem: httpx.HTTPError, path: str) -> ApiProblem:
        return explain(problem, self.address, path)


def explain(problem: httpx.HTTPError, address: str, path: str = "") -> ApiProblem:
    """The problem in words, without the request's or the answer's content, which may hold secrets."""
    if not isinstance(problem, httpx.HTTPStatusError):
        return Unreachable(
            f"Prefect's API at {address} does not answer ({type(problem).__name__}). "
            "Check that the server runs and that PREFECT_API_URL is right."
        )
    status = problem.response.status_code
    if status == httpx.codes.UNAUTHORIZED:
        return Refused(
            f"Prefect's API at {address} does not accept the credentials (401). "
            "Check PREFECT_API_KEY for Prefect Cloud, or PREFECT_API_AUTH_STRING for a server of your own."
        )
    if status == httpx.codes.FORBIDDEN:
        right = RIGHTS["GET" if is_question(path) else problem.request.method]
        return Refused(
            f"Prefect's API at {address} does not permit to {right} {path} (403). Use credentials with that right."
        )
    if status == httpx.codes.NOT_FOUND:
        return NotFound(f"Prefect's API at {address} knows nothing at {path} (404).")
    if status in (httpx.codes.CONFLICT, httpx.codes.UNPROCESSABLE_ENTITY):
        refused = AlreadyThere if status == httpx.codes.CONFLICT else Refused
        return refused(
            f"Prefect's API at {address} does not accept what was sent to {path} ({status}).{_detail(problem)}"
        )
    failed = ServerFailed if status == httpx.codes.INTERNAL_SERVER_ERROR else ApiProblem
    return failed(f"Prefect's API at {address} failed on {path} ({status}). Look at the server's log.")


def decode(rows: Iterable[dict[str, Any]], what: str, make: Callable[[dict[str, Any]], Facts]) -> list[Facts]:
    """Rows of an answer as facts; `ApiProblem` where the answer does not look as it should."""
    try:
        return [make(row) for row in rows]
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise ApiProblem(
            f"Prefect's API described a {what} in a way that is not understood ({type(problem).__name__}). "
            "Compare the versions of client and server with 'poolkeeper doctor'."
        ) from None


def _stamped_at(answer: httpx.Response) -> datetime:
    stamp = answer.headers.get("date")
    return parsedate_to_datetime(stamp).astimezone(UTC) + SECOND if stamp else datetime.now(UTC)


def instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


@asynccontextmanager
async def connect() -> AsyncIterator[Api]:
    """Connect to the API that Prefect's settings name."""
    client = get_client(httpx_settings={"event_hooks": {"response": [_soon_again]}})
    try:
        async with client:
            yield Api(client)
    except httpx.HTTPError as problem:
        raise explain(problem, _without_credentials(str(client.api_url))) from None


async def _soon_again(answer: httpx.Response) -> None:
    """Tell Prefect's client how long to wait where a busy server does not say."""
    if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or "Retry-After" in answer.headers:
        return
    times = answer.request.extensions.get("times_busy", 0)
    answer.request.extensions["times_busy"] = times + 1
    answer.headers["Retry-After"] = BUSY_WAITS[min(times, len(BUSY_WAITS) - 1)]


def _detail(problem: httpx.HTTPStatusError) -> str:
    """What the server says is wrong: places and messages, never the values it repeats."""
    try:
        answer = problem.response.json()
        detail = answer.get("exception_detail") or answer.get("detail")
    except (ValueError, AttributeError):
        return ""
    if isinstance(detail, list):
        return " " + "; ".join(f"{'.'.join(map(str, each.get('loc', ())))}: {each.get('msg')}" for each in detail)
    return ""


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
