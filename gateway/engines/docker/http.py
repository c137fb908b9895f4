"""HTTP/1.1 over the daemon's Unix socket: one request per connection, answers whole or as a stream.

Just what Docker's API needs (RFC 9112: lengths, chunked bodies, bodies until the end of the connection). Everything the
daemon says is bounded. Errors of the API become ours by status; a daemon that is gone or silent is Unavailable.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from gateway.errors import Conflict, FieldgateError, NotFound, ToolFailed, Unavailable

CALL_TIMEOUT_S: Final = 30.0
MAX_HEADER_BYTES: Final = 64 << 10
MAX_ANSWER_BYTES: Final = 8 << 20
PIECE_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of an answer."""

    status: int
    headers: dict[str, str]
    """By lower-case name."""


class Api:
    """The daemon behind one socket."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    async def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Any:
        """The answer's JSON; None when it has none. Errors as of `open`."""
        try:
            async with asyncio.timeout(timeout_s), self.open(method, path, query, body) as pieces:
                answer = await _all(pieces)
        except TimeoutError:
            raise Unavailable(f"cannot reach {self.socket}: no answer to {method} {path} in {timeout_s:g} s") from None
        try:
            return json.loads(answer) if answer.strip() else None
        except ValueError:
            raise Unavailable(f"cannot understand {self.socket}: its answer to {method} {path} is no JSON") from None

    @contextlib.asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        upload: Iterator[bytes] | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Send `body` (as JSON) or `upload` (a tar, blocking); the pieces of the answer's body as they come.

        Unavailable: no daemon, or it hung up. NotFound (404), Conflict (409) and ToolFailed (other errors) have the
        daemon's own words.
        """
        try:
            reader, writer = await asyncio.open_unix_connection(str(self.socket), limit=MAX_HEADER_BYTES)
        except OSError as failure:
            raise Unavailable(f"cannot reach {self.socket}: {failure.strerror}") from failure
        try:
            with contextlib.suppress(ConnectionError):  # it may have answered before it read everything
                await _send(writer, method, _target(path, query), body, upload)
            head = await _read_head(reader)
            pieces = _body(reader, head)
            if head.status >= 400:
                raise _error(method, path, head.status, await _all(pieces))
            yield pieces
        except (OSError, EOFError) as failure:
            raise Unavailable(f"cannot reach {self.socket}: it hung up during {method} {path}") from failure
        except ValueError as failure:
            raise Unavailable(f"cannot understand {self.socket}: {failure}") from failure
        finally:
            writer.close()

    async def hijack(self, path: str, body: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """POST, after which the connection is a program's terminal; the caller closes it. Errors as of `open`."""
        try:
            reader, writer = await asyncio.open_unix_connection(str(self.socket), limit=MAX_HEADER_BYTES)
        except OSError as failure:
            raise Unavailable(f"cannot reach {self.socket}: {failure.strerror}") from failure
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await _send(writer, "POST", path, body, None, "Connection: Upgrade\r\nUpgrade: tcp")
                head = await _read_head(reader)
                if head.status >= 400:
                    raise _error("POST", path, head.status, await _all(_body(reader, head)))
            return reader, writer
        except BaseException as failure:
            writer.close()
            if isinstance(failure, OSError | EOFError | ValueError):  # TimeoutError is an OSError
                raise Unavailable(f"cannot reach {self.socket}: no terminal by POST {path}: {failure}") from failure
            raise


def _target(path: str, query: Mapping[str, str] | None) -> str:
    return quote(path, safe="/:@") + (f"?{urlencode(query)}" if query else "")


async def _send(
    writer: asyncio.StreamWriter,
    method: str,
    target: str,
    body: Any,
    upload: Iterator[bytes] | None,
    connection: str = "Connection: close",
) -> None:
    head = [f"{method} {target} HTTP/1.1", "Host: docker", connection]
    data = b"" if body is None else json.dumps(body).encode()
    if upload is not None:
        head += ["Content-Type: application/x-tar", "Transfer-Encoding: chunked"]
    elif body is not None:
        head += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    else:
        head += ["Content-Length: 0"]
    writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + data)
    await writer.drain()
    if upload is not None:
        while piece := await asyncio.to_thread(next, upload, b""):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()


async def _read_head(reader: asyncio.StreamReader) -> Head:
    """ValueError: not HTTP. EOFError: it ended."""
    try:
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError:
        raise ValueError("its headers are too long") from None
    first, *lines = text.split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest.partition(" ")[0]
    if not version.startswith("HTTP/1.") or not status.isdecimal():
        raise ValueError("it does not speak HTTP")
    pairs = (line.partition(":") for line in lines if line)
    return Head(int(status), {name.strip().lower(): value.strip() for name, _, value in pairs})


async def _body(reader: asyncio.StreamReader, head: Head) -> AsyncIterator[bytes]:
    """The body in pieces of at most PIECE_BYTES, its transfer coding removed. EOFError when it is cut short."""
    if head.status in (204, 304):
        return
    if "chunked" in head.headers.get("transfer-encoding", "").lower():
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            async for piece in _exactly(reader, size):
                yield piece
            await reader.readexactly(2)
    elif (length := head.headers.get("content-length")) is not None:
        async for piece in _exactly(reader, int(length)):
            yield piece
    else:
        while piece := await reader.read(PIECE_BYTES):
            yield piece


async def _exactly(reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
    while size > 0:
        piece = await reader.read(min(size, PIECE_BYTES))
        if not piece:
            raise EOFError
        size -= len(piece)
        yield piece


async def _all(pieces: AsyncIterator[bytes]) -> bytes:
    """ValueError when it is more than MAX_ANSWER_BYTES."""
    found = bytearray()
    async for piece in pieces:
        found += piece
        if len(found) > MAX_ANSWER_BYTES:
            raise ValueError(f"an answer has more than {MAX_ANSWER_BYTES} bytes")
    return bytes(found)


def _error(method: str, path: str, status: int, body: bytes) -> FieldgateError:
    text = body.decode(errors="replace").strip()
    with contextlib.suppress(ValueError, AttributeError):
        text = str(json.loads(body).get("message") or text)
    text = " ".join(text.split())[:2000] or f"status {status}"
    if status == 404:
        return NotFound(text)
    if status == 409:
        return Conflict(text)
    return ToolFailed((f"{method} {path}",), status, text)
