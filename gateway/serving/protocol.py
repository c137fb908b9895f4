"""uvicorn's HTTP protocol with the limits that it lacks. All that we use of uvicorn's internals is in this file.

Written against the uvicorn that pyproject.toml pins; read `protocols/http/httptools_impl.py` again before moving it.
What it lacks: a bound on headers under httptools (one header of 100 MB cost 98 MB), a count of idle connections, a
deadline for the first request, a bound on pipelined requests and on bodies.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

MAX_PIPELINED: Final = 8
"""Requests sent ahead on one connection."""
# What the caller may send again says so; the rest stays wrong however often it comes.
_CODES: Final = {503: "unavailable", 408: "timed_out"}
_CREDENTIALS: Final = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one socket."""

    connections: int = 16
    header_bytes: int = 16 << 10
    body_bytes: int = 256 << 10
    request_timeout_s: float = 10.0
    """From the connection, or a request's first byte, to the end of its headers; and again to the end of its body."""
    idle_timeout_s: float = 300.0
    """Between two requests of one connection."""


class TooManyPipelined(Exception):
    """Makes the parser give up on a connection."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection. The peer's (pid, uid, gid) is in `scope["state"]["peer"]`."""

    def __init__(self, config: Config, state: ServerState, limits: Limits) -> None:
        super().__init__(config, state, {})
        self._limits = limits
        self._in_headers = True
        self._header_bytes = 0
        self._body_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if len(self.connections) >= self._limits.connections:
            self.transport = transport
            self._refuse(503, "too many connections")
            return
        super().connection_made(transport)
        self.app_state = {"peer": _peer(transport)}
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        while data and not self.transport.is_closing():
            if not self._in_headers:
                super().data_received(data)
                return
            room = self._limits.header_bytes - self._header_bytes
            if room <= 0:
                self._refuse(431, f"headers of more than {self._limits.header_bytes} bytes")
                return
            part, data = data[:room], data[room:]
            self._header_bytes += len(part)
            super().data_received(part)

    # Parser callbacks

    def on_message_begin(self) -> None:
        self._in_headers = True
        self._header_bytes = 0
        self._body_bytes = 0
        self._arm()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= MAX_PIPELINED:
            raise TooManyPipelined
        self._in_headers = False
        self._arm()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_bytes:
            if not self.transport.is_closing():
                self._refuse(413, f"a body of more than {self._limits.body_bytes} bytes")
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._disarm()
        # What follows in the same read belongs to the next request's headers.
        self._in_headers = True
        self._header_bytes = 0
        super().on_message_complete()

    # Deadlines

    def _arm(self) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(self._limits.request_timeout_s, self._late)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        if not self.transport.is_closing():
            self._refuse(408, f"no complete request within {self._limits.request_timeout_s:g} s")

    def _refuse(self, status: int, why: str) -> None:
        if self.cycle is None or not self.cycle.response_started:
            code = _CODES.get(status, "invalid_input")
            body = f'{{"code":"{code}","message":"cannot read request: {why}"}}'.encode()
            length = b"content-length: " + str(len(body)).encode()
            head = (
                STATUS_LINE[status],
                b"content-type: application/json\r\n",
                length,
                b"\r\nconnection: close\r\n\r\n",
            )
            self.transport.write(b"".join(head) + body)
        self.transport.close()


def make_protocol(config: Config, state: ServerState, limits: Limits) -> LimitedProtocol:
    return LimitedProtocol(config, state, limits)


def make_config(app: Any, limits: Limits) -> Config:
    """uvicorn's configuration for one socket: no lifespan, no logging of its own, no server header."""
    config = Config(
        app,
        lifespan="off",
        http=HttpToolsProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=int(limits.idle_timeout_s),
    )
    config.load()
    return config


def make_state() -> ServerState:
    return ServerState()


def _peer(transport: asyncio.BaseTransport) -> tuple[int, int, int]:
    """(pid, uid, gid) of who connected, as seen from here; zeros when it is no Unix socket."""
    connection = transport.get_extra_info("socket")
    try:
        return _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    except (OSError, AttributeError):
        return (0, 0, 0)
