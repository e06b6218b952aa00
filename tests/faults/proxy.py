"""A proxy in front of a real server that does to chosen requests what networks and servers do at their worst.

It runs in a thread of its own, so that a test may look at the server meanwhile. Requests are numbered apart, reads and
writes, and only those that the flows make for themselves: what Prefect's engine does beside them just passes.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import unquote, urlsplit

from tests.faults.choice import Choose, nothing
from tests.faults.wire import Answer, Headers, Request, read_body, read_head, request_head, reset

REFUSED_SECONDS = 0.5
SLOW_SECONDS = 1.5
# Each fault: what goes wrong, and whether the server carries the request out all the same.
FAULTS = {
    "refused": False, "reset": True, "403": False, "429": False, "500": False, "502": False, "503": False, "504": True,
    "slow": True, "truncated": True, "wrong": True, "lost": True,
}  # fmt: skip
Look = Callable[[Request], None]


class Proxy:
    """In front of the server at `url`. `requests` are the flows' own since the last `clear`."""

    def __init__(self, url: str) -> None:
        self.target = urlsplit(url)
        self.port = 0
        self.loop = asyncio.new_event_loop()
        self.seen: list[Request] = []
        self._serving: asyncio.Server | None = None
        self.clear()

    def clear(self) -> None:
        """Let everything pass, and count anew."""
        self.choose: Choose = nothing
        self.before: Look = lambda _: None
        self.after: Look = lambda _: None
        self.requests: list[Request] = []
        # What was sent where, by the engine as well.
        self.sent: list[tuple[str, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def writes(self) -> list[Request]:
        return [each for each in self.requests if not each.is_read]

    @property
    def reads(self) -> list[Request]:
        return [each for each in self.requests if each.is_read]

    @contextmanager
    def running(self) -> Iterator["Proxy"]:
        thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self.loop).result(10)
        try:
            yield self
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            thread.join(10)

    async def _listen(self) -> None:
        self._serving = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=2**26)
        self.port = self._serving.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, OSError):
            while (head := await read_head(reader)) is not None:
                first, headers = head
                if any(name.lower() == "upgrade" for name, _ in headers):
                    await self._tunnel(first, headers, reader, writer)
                    break
                if not await self._answer(first, headers, await read_body(reader, headers), writer):
                    break
        writer.close()

    async def _answer(self, first: str, headers: Headers, body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        method, target, _ = first.split(" ")
        request = self._numbered(Request(method, unquote(target.removeprefix("/api").partition("?")[0]), body))
        self.sent.append((f"{method} {request.path}", target.encode() + b" " + body))
        fault = "" if request.number < 0 else self.choose(request)
        await asyncio.to_thread(self.before, request)
        if fault == "refused":
            await self._refuse(writer)
            return False
        if fault == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        answer = Answer(200)
        if FAULTS.get(fault, not fault):
            answer = await self._forward(first, headers, body)
            await asyncio.to_thread(self.after, request)
        return await self._send(fault, answer, writer)

    async def _send(self, fault: str, answer: Answer, writer: asyncio.StreamWriter) -> bool:
        if fault.isdigit():
            answer = Answer(int(fault), [("content-type", "application/json")], b'{"detail": "x"}')
            answer.headers += [("retry-after", "1")] if fault in ("429", "502") else []
        elif fault == "truncated":
            answer.body = answer.body[: len(answer.body) // 2] or b"{"
            answer.status = 200
        elif fault == "wrong":
            answer.body, answer.status = json.dumps({"something": "else"}).encode(), 200
        data = answer.sent()
        if fault in ("reset", "lost"):
            writer.write(data[: len(data) // 2] if fault == "reset" else b"")
            reset(writer)
            return False
        writer.write(data)
        await writer.drain()
        return True

    def _numbered(self, request: Request) -> Request:
        if request.is_of_engine:
            return request
        same = [each for each in self.requests if each.is_read is request.is_read]
        numbered = Request(request.method, request.path, request.body, len(same))
        self.requests.append(numbered)
        return numbered

    async def _refuse(self, writer: asyncio.StreamWriter) -> None:
        """Take no connection for a while."""
        assert self._serving is not None
        self._serving.close()
        reset(writer)
        await asyncio.sleep(REFUSED_SECONDS)
        await self._listen()

    async def _forward(self, first: str, headers: Headers, body: bytes) -> Answer:
        reader, writer = await asyncio.open_connection(self.target.hostname, self.target.port, limit=2**26)
        try:
            writer.write(request_head(first, [*headers, ("connection", "close")]) + body)
            await writer.drain()
            head = await read_head(reader)
            assert head is not None
            status, answered = head
            return Answer(int(status.split(" ")[1]), answered, await read_body(reader, answered))
        finally:
            writer.close()

    async def _tunnel(
        self, first: str, headers: Headers, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Events go over a connection of their own, which just passes."""
        up, down = await asyncio.open_connection(self.target.hostname, self.target.port)
        down.write(request_head(first, headers))

        async def pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError, OSError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(pour(reader, down), pour(up, writer))
