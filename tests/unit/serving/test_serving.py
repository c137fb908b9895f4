"""A caller that wants to hurt, on a real Unix socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from gateway.serving import Limits, Listener, listen

LIMITS = Limits(connections=4, header_bytes=4096, body_bytes=10_000, request_timeout_s=0.4, idle_timeout_s=60)
GET = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"


async def application(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    answer = f"{scope['path']} {len(body)} {scope['state']['peer'][1]}".encode()
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def serve(directory: Path, scenario: Callable[[str, Listener], Awaitable[None]]) -> None:
    async def main() -> None:
        path = str(directory / "s")
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        listening.listen()
        listener = await listen(listening, application, LIMITS)
        try:
            async with asyncio.timeout(20):
                await scenario(path, listener)
        finally:
            await listener.close()

    asyncio.run(main())


async def ask(path: str, *chunks: bytes) -> bytes:
    """Send the chunks and read to the end of the connection."""
    reader, writer = await asyncio.open_unix_connection(path)
    answer = b""
    try:
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
        while data := await asyncio.wait_for(reader.read(65536), 2):
            answer += data
            if answer.endswith(b"\r\n\r\n"):
                break
    except (ConnectionError, TimeoutError):
        pass
    writer.close()
    return answer


def test_a_request_is_answered_and_the_peer_is_known(tmp_path: Path) -> None:
    async def scenario(path: str, listener: Listener) -> None:
        answer = await ask(path, b"POST /p HTTP/1.1\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc")
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"/p 3 0")

    serve(tmp_path, scenario)


def test_headers_are_bounded(tmp_path: Path) -> None:
    async def scenario(path: str, listener: Listener) -> None:
        answer = await ask(path, b"GET / HTTP/1.1\r\nX: ", *[b"a" * 1000] * 100)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 431")
        many = b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(1000)) + b"\r\n"
        answer = await ask(path, many)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 431")

    serve(tmp_path, scenario)


def test_bodies_are_bounded(tmp_path: Path) -> None:
    async def scenario(path: str, listener: Listener) -> None:
        head = b"POST /p HTTP/1.1\r\nContent-Length: 50000000\r\n\r\n"
        answer = await ask(path, head, *[b"a" * 8000] * 20)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 413")

    serve(tmp_path, scenario)


def test_connections_are_bounded_and_idle_ones_count(tmp_path: Path) -> None:
    async def scenario(path: str, listener: Listener) -> None:
        idle = [await asyncio.open_unix_connection(path) for _ in range(LIMITS.connections)]
        await asyncio.sleep(0.05)
        assert (await ask(path, GET)).startswith(b"HTTP/1.1 503")
        assert listener.connections == LIMITS.connections
        for _, writer in idle:
            writer.close()
        await asyncio.sleep(0.05)
        assert (await ask(path, GET.replace(b"Host: x", b"Connection: close"))).startswith(b"HTTP/1.1 200")

    serve(tmp_path, scenario)


def test_a_slow_caller_is_cut_off(tmp_path: Path) -> None:
    async def scenario(path: str, listener: Listener) -> None:
        for start in (b"", b"GET / HT", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nab"):
            answer = await ask(path, start)
            assert answer.startswith(b"HTTP/1.1 408"), start
        assert listener.connections == 0

    serve(tmp_path, scenario)


def test_pipelining_is_bounded(tmp_path: Path) -> None:
    async def scenario(path: str, listener: Listener) -> None:
        answer = await ask(path, GET * 4 + GET.replace(b"Host: x", b"Connection: close"))
        assert answer.count(b"HTTP/1.1 200") == 5
        answer = await ask(path, GET * 5000)
        assert answer.count(b"HTTP/1.1 200") < 100

    serve(tmp_path, scenario)


def test_nonsense_is_refused(tmp_path: Path) -> None:
    async def scenario(path: str, listener: Listener) -> None:
        assert (await ask(path, b"\x00\x01\x02" * 50)).startswith(b"HTTP/1.1 400")

    serve(tmp_path, scenario)
