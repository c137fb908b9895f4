"""The client against a socket that says what it is told to, byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.engines.docker import http
from gateway.engines.docker.http import Api
from gateway.errors import Conflict, FieldgateError, NotFound, ToolFailed, Unavailable

OK = b"HTTP/1.1 200 OK\r\n"


def with_daemon(directory: Path, answer: bytes, use: Callable[[Api], Awaitable[Any]]) -> tuple[Any, bytes]:
    """What `use` returns, and what the daemon was sent; it answers when the request's end has come."""
    received = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.readuntil(b"\r\n\r\n"))
        if b"chunked" in received:
            while not received.endswith(b"0\r\n\r\n"):
                received.extend(await reader.read(65536))
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def main() -> Any:
        server = await asyncio.start_unix_server(serve, directory / "s")
        async with server:
            return await use(Api(directory / "s"))

    return asyncio.run(main()), bytes(received)


@pytest.mark.parametrize(
    "body",
    [
        b'Content-Length: 9\r\n\r\n{"a": 1}\n',
        b'Transfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n4;x=y\r\n: 1}\r\n0\r\n\r\n',
        b'\r\n{"a": 1}',
    ],
    ids=["length", "chunks", "until the end"],
)
def test_bodies(tmp_path: Path, body: bytes) -> None:
    answer, sent = with_daemon(tmp_path, OK + body, lambda api: api.call("GET", "/x y", {"f": '{"l": 1}'}))
    assert answer == {"a": 1}
    assert sent.startswith(b"GET /x%20y?f=%7B%22l%22%3A+1%7D HTTP/1.1\r\nHost: docker\r\n")


def test_no_content_and_a_body_of_json(tmp_path: Path) -> None:
    answer, sent = with_daemon(
        tmp_path, b"HTTP/1.1 204 No Content\r\n\r\n", lambda api: api.call("POST", "/x", None, {})
    )
    assert answer is None
    assert b"Content-Length: 2\r\n" in sent


@pytest.mark.parametrize(("status", "kind"), [(404, NotFound), (409, Conflict), (400, ToolFailed), (500, ToolFailed)])
@pytest.mark.parametrize("body", [b'{"message": "no such\\n thing"}', b"no such thing"])
def test_errors_have_the_daemons_words(tmp_path: Path, status: int, kind: type[FieldgateError], body: bytes) -> None:
    answer = b"HTTP/1.1 %d Bad\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
    with pytest.raises(kind, match="no such thing"):
        with_daemon(tmp_path, answer, lambda api: api.call("GET", "/x"))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        OK + b"Content-Length: 9\r\n\r\n{}",
        OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{}",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}",
        OK + b"\r\nno JSON",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        OK + b"X: " + b"x" * (http.MAX_HEADER_BYTES + 1),
        OK + b"\r\n" + b"x" * (http.MAX_ANSWER_BYTES + 1),
    ],
    ids=["nothing", "head", "body", "chunk", "size", "json", "ssh", "long head", "long body"],
)
def test_what_is_no_answer_is_unavailable(tmp_path: Path, answer: bytes) -> None:
    with pytest.raises(Unavailable, match=r"cannot (reach|understand)"):
        with_daemon(tmp_path, answer, lambda api: api.call("GET", "/x"))


def test_no_daemon_and_a_silent_one(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot reach .*/s: No such file"):
        asyncio.run(Api(tmp_path / "s").call("GET", "/x"))

    async def silent() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async with await asyncio.start_unix_server(serve, tmp_path / "s"):
            try:
                await Api(tmp_path / "s").call("GET", "/x", timeout_s=0.1)
            finally:
                await asyncio.sleep(0.05)  # the daemon sees that we hung up

    with pytest.raises(Unavailable, match=r"no answer to GET /x in 0\.1 s"):
        asyncio.run(silent())


def test_an_upload_comes_in_chunks_and_the_answer_as_a_stream(tmp_path: Path) -> None:
    async def load(api: Api) -> list[bytes]:
        async with api.open("POST", "/images/load", upload=iter([b"one", b"two"])) as pieces:
            return [piece async for piece in pieces]

    answer, sent = with_daemon(tmp_path, OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", load)
    assert answer == [b"hi"]
    assert sent.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
