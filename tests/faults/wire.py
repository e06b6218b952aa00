"""Requests and answers as they stand on the wire, as far as a proxy has to understand them."""

import asyncio
import re
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

# Of the engine: flow and task runs and their states, logs, events, and what the client asks for by itself.
ENGINE = re.compile(r"/(flows|flow_runs|task_runs|logs|csrf-token|admin/.*)/?|/(flow|task)_runs/[^/]+(/set_state)?")
OF_RUNS = ("/flow_runs/filter", "/flow_runs/count", "/task_runs/filter", "/task_runs/count", "/flow_runs/history")
BULK = ("/flow_runs/bulk_delete", "/flow_runs/bulk_set_state")
READS = re.compile(r".*/(filter|count|history|count-by/.*)/?")
Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """`number` counts from 0, reads and writes apart; those of the engine have none."""

    method: str
    path: str
    body: bytes
    number: int = -1

    @property
    def is_read(self) -> bool:
        return self.method == "GET" or READS.fullmatch(self.path) is not None

    @property
    def is_of_engine(self) -> bool:
        return self.path not in (*OF_RUNS, *BULK) and ENGINE.fullmatch(self.path) is not None

    @property
    def is_write(self) -> bool:
        return self.number >= 0 and not self.is_read

    def __str__(self) -> str:
        return f"{'read' if self.is_read else 'write'} {self.number}: {self.method} {self.path}"


@dataclass(slots=True)
class Answer:
    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""

    def sent(self) -> bytes:
        """Its bytes, with the length of its body as it is."""
        dropped = {"content-length", "transfer-encoding", "connection"}
        kept = [(name, value) for name, value in self.headers if name.lower() not in dropped]
        lines = [f"HTTP/1.1 {self.status} X", *(f"{name}: {value}" for name, value in kept)]
        return "\r\n".join([*lines, f"content-length: {len(self.body)}", "", ""]).encode() + self.body


def request_head(first: str, headers: Headers) -> bytes:
    return "\r\n".join([first, *(f"{name}: {value}" for name, value in headers), "", ""]).encode("latin-1")


async def read_head(reader: asyncio.StreamReader) -> tuple[str, Headers] | None:
    try:
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = text.rstrip("\r\n").split("\r\n")
    return first, [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]


async def read_body(reader: asyncio.StreamReader, headers: Headers) -> bytes:
    fields = {name.lower(): value for name, value in headers}
    if fields.get("transfer-encoding", "").lower() == "chunked":
        parts: list[bytes] = []
        while size := int((await reader.readline()).split(b";")[0], 16):
            parts.append(await reader.readexactly(size))
            await reader.readline()
        await reader.readline()
        return b"".join(parts)
    return await reader.readexactly(int(fields.get("content-length", 0)))


def reset(writer: asyncio.StreamWriter) -> None:
    """Close at once, as a process does that dies: the other side sees a reset."""
    sock: Any = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
