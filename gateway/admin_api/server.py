"""A part: serves the route table on the admin socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route as StarletteRoute

from gateway.admin_api.routes import ROUTES, Call, Route
from gateway.errors import FieldgateError, NotFound
from gateway.model.wire import canonical
from gateway.operations import Operations
from gateway.serving import Limits, listen

LIMITS: Final = Limits(connections=32, body_bytes=2 << 20)


class AdminServer:
    name = "admin-api"

    def __init__(self, path: Path, operations: Operations) -> None:
        self._path = path
        routes = [StarletteRoute(r.path, _endpoint(r, operations), methods=[r.method]) for r in ROUTES]
        self._application: Any = Starlette(routes=routes, exception_handlers={404: _unknown, 405: _unknown})

    async def run(self) -> None:
        self._path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        before = os.umask(0o177)  # from its first moment on it is root's only
        try:
            listening.bind(str(self._path))
        finally:
            os.umask(before)
        listening.listen()
        listener = await listen(listening, self._application, LIMITS)
        try:
            await asyncio.Event().wait()
        finally:
            await listener.close()
            self._path.unlink(missing_ok=True)


def _endpoint(route: Route, operations: Operations) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        path = {name: str(value) for name, value in request.path_params.items()}
        try:
            answer = await route.handler(Call(operations, path, dict(request.query_params), await request.body()))
        except FieldgateError as failure:
            return _error(failure)
        if isinstance(answer, AsyncIterator):
            return StreamingResponse(_lines(answer), media_type="application/x-ndjson")
        return Response(canonical(answer), media_type="application/json")

    return serve


async def _lines(items: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    try:
        async for item in items:
            yield canonical(item) + b"\n"
    except FieldgateError as failure:  # the status was sent long ago
        yield canonical({"error": failure.to_json()}) + b"\n"


async def _unknown(request: Request, _: Exception) -> Response:
    return _error(NotFound(f"cannot {request.method} {request.url.path[:200]}: the agent has no such call"))


def _error(failure: FieldgateError) -> Response:
    return Response(canonical(failure.to_json()), failure.http_status, media_type="application/json")
