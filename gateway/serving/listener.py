"""Serves one ASGI application on one listening socket until it is closed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import Any, Final

from gateway.serving.protocol import Limits, make_config, make_protocol, make_state

CLOSE_GRACE_S: Final = 1.0
# From 3.13 on the loop would remove the socket's file at the end: it is not ours, and lives on without the agent.
_OPTIONS: Final[dict[str, Any]] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}


class Listener:
    """Made by `listen()`. Owns the socket."""

    def __init__(self, server: asyncio.Server, state: Any) -> None:
        # The server must be kept: uvloop closes one that nobody holds.
        self._server = server
        self._state = state

    @property
    def connections(self) -> int:
        """Open ones, idle or not."""
        return len(self._state.connections)

    async def close(self) -> None:
        """No new connections; requests under way get a moment to end, then everything is cut."""
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        tasks = list(self._state.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_GRACE_S)
        for connection in list(self._state.connections):
            connection.transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # transports close on the next turn of the loop


async def listen(listening: socket.socket, app: Any, limits: Limits) -> Listener:
    """Serve `app` (ASGI 3) on a bound, listening Unix socket."""
    config, state = make_config(app, limits), make_state()
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: make_protocol(config, state, limits), sock=listening, **_OPTIONS)
    return Listener(server, state)
