"""The ASGI application behind every endpoint: route table -> Starlette, errors -> JSON, streams -> SSE."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route as StarletteRoute

from gateway.endpoints import Endpoint
from gateway.errors import FieldgateError, NotFound
from gateway.esdk_server.ports import Ports
from gateway.esdk_server.routes import ROUTES, Call, Route
from gateway.model.wire import canonical

log = logging.getLogger(__name__)

KEEP_ALIVE_S: Final = 15.0
"""A comment on a silent stream, so that a reader notices a dead one."""


def build(ports: Ports, max_unread_events: int) -> Any:
    """One application for all endpoints; `for_endpoint` gives each its identity."""
    routes = [
        StarletteRoute(route.path, _endpoint(route, ports, max_unread_events), methods=[route.method])
        for route in ROUTES
    ]
    return Starlette(routes=routes, exception_handlers={404: _not_found, 405: _not_found})


def for_endpoint(application: Any, endpoint: Endpoint) -> Any:
    """The application as this endpoint's container sees it: the socket is the identity."""

    async def identified(scope: Any, receive: Any, send: Any) -> None:
        scope["fieldgate.endpoint"] = endpoint
        await application(scope, receive, send)

    return identified


def _endpoint(route: Route, ports: Ports, max_unread: int) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        endpoint: Endpoint = request.scope["fieldgate.endpoint"]
        try:
            call = Call(
                endpoint,
                ports,
                {name: str(value) for name, value in request.path_params.items()},
                dict(request.query_params),
                await request.body(),
                request.headers.get("idempotency-key", ""),
                max_unread,
            )
            answer = await route.handler(call)
        except FieldgateError as failure:
            if failure.http_status in (403, 500):
                peer = request.scope["state"]["peer"]
                log.warning("call refused owner=%s pid=%d cause=%s", endpoint.spec.owner, peer[0], failure.message)
            return _error(failure)
        except ClientDisconnect:
            return Response(status_code=400)
        if isinstance(answer, AsyncIterator):
            return StreamingResponse(_stream(answer, endpoint), media_type="text/event-stream")
        return Response(canonical(answer), media_type="application/json")

    return serve


async def _stream(events: AsyncIterator[dict[str, Any]], endpoint: Endpoint) -> AsyncIterator[bytes]:
    """Server-sent events until the reader goes or the container does."""
    released = asyncio.ensure_future(endpoint.released.wait())
    following = asyncio.ensure_future(anext(events, None))
    try:
        yield b": open\n\n"
        while not released.done():
            await asyncio.wait({released, following}, timeout=KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                if not released.done():
                    yield b": alive\n\n"
                continue
            event = following.result()
            if event is None:
                return
            yield b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"
            following = asyncio.ensure_future(anext(events, None))
    finally:
        for task in (released, following):
            task.cancel()
        await asyncio.gather(released, following, return_exceptions=True)
        with contextlib.suppress(RuntimeError):
            await events.aclose()  # type: ignore[attr-defined]


async def _not_found(request: Request, _: Exception) -> Response:
    return _error(NotFound(f"cannot {request.method} {request.url.path[:200]}: the eSDK has no such call"))


def _error(failure: FieldgateError) -> Response:
    return Response(canonical(failure.to_json()), failure.http_status, media_type="application/json")
