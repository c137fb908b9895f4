"""JSON over HTTP on a Unix socket: what the commands ask of the running cloud. Only its own user can connect.

GET    /v1/status                                 session, counters
GET    /v1/keys                                   the keys document in force; POST: its successor with the new signer
GET    /v1/gateways                               POST: enrol one
GET    /v1/gateways/{gateway}                     status and reports
PUT    /v1/gateways/{gateway}/apps/{app}          deploy; ?dry_run=1 only checks. DELETE: undeploy
GET    /v1/gateways/{gateway}/{diff,tags,streams,samples}
POST   /v1/gateways/{gateway}/operations          ask it for something: {"ask": {"op", ...}, "wait_s"}; GET: the record
GET    /v1/operations/{operation}                 one of them, with its answer
GET    /v1/events?gateway=                        one JSON object a line, for as long as one listens
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from cloud.operating import WAIT_S
from cloud.server import Cloud
from cloud.store import GatewayRow
from gateway.documents.envelope import PrivateKey, peek
from gateway.documents.syntax import parse_json
from gateway.errors import FieldgateError, InvalidInput, NotFound
from gateway.model.wire import canonical, to_wire
from gateway.mqtt import Address

MAX_BODY_BYTES: Final = 2 << 20
MAX_CONNECTIONS: Final = 256

Handler = Callable[[Cloud, Request], Awaitable[Any]]


class _Server(uvicorn.Server):
    """Signals are the process's business, not the API's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_api(path: Path, cloud: Cloud) -> None:
    """Until cancelled; the socket is there only while it answers."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    before = os.umask(0o177)  # nobody else's from its first moment on
    try:
        listening.bind(str(path))
    finally:
        os.umask(before)
    server = _Server(
        uvicorn.Config(
            application(cloud),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=1,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        listening.close()
        path.unlink(missing_ok=True)


def application(cloud: Cloud) -> Starlette:
    routes = [Route(path, _endpoint(cloud, handler), methods=[method]) for method, path, handler in ROUTES]
    return Starlette(routes=routes, exception_handlers={404: _unknown, 405: _unknown})


def _endpoint(cloud: Cloud, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        try:
            answer = await handler(cloud, request)
        except FieldgateError as failure:
            return _error(failure)
        return answer if isinstance(answer, Response) else Response(canonical(answer), media_type="application/json")

    return serve


async def _unknown(request: Request, _: Exception) -> Response:
    return _error(NotFound(f"cannot {request.method} {request.url.path[:200]}: the cloud has no such call"))


def _error(failure: FieldgateError) -> Response:
    return Response(canonical(failure.to_json()), failure.http_status, media_type="application/json")


async def _body(request: Request) -> dict[str, Any]:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY_BYTES:
            raise InvalidInput(f"cannot read the request: more than {MAX_BODY_BYTES} bytes")
    body = parse_json(bytes(data), "the request", MAX_BODY_BYTES, max_string_chars=MAX_BODY_BYTES)
    if not isinstance(body, dict):
        raise InvalidInput("cannot read the request: it must be an object")
    return body


def _text(body: dict[str, Any], key: str, default: str | None = None) -> str:
    value = body.get(key, default)
    if not isinstance(value, str):
        raise InvalidInput(f"cannot read the request: {key} must be a string")
    return value


def _number(request: Request, key: str, default: int) -> int:
    text = request.query_params.get(key, str(default))
    if not text.isdigit() or len(text) > 18:
        raise InvalidInput(f"cannot read the request: {key} must be a number")
    return int(text)


def _gateway(row: GatewayRow) -> dict[str, Any]:
    return {
        "gateway": row.gateway,
        "incarnation": row.incarnation,
        "enrolled_ns": row.enrolled_ns,
        "status": to_wire(row.status) if row.status else None,
        "status_ns": row.status_ns,
    }


async def _status(cloud: Cloud, _: Request) -> Any:
    return {
        "broker": f"{cloud.broker.host}:{cloud.broker.port}",
        "session": to_wire(cloud.session.status),
        "connected": cloud.session.status.connected,
        "counts": dict(cloud.ingest.counts),
    }


async def _keys(cloud: Cloud, _: Request) -> Any:
    envelope = await cloud.database.run(cloud.authority.newest)
    document = parse_json(peek(envelope)[1], "the keys document", MAX_BODY_BYTES)
    return {"keys": document, "envelope": envelope.decode()}


async def _rotate(cloud: Cloud, request: Request) -> Any:
    body = await _body(request)
    signer = PrivateKey.from_pem(_text(body, "signer").encode())
    version = await cloud.rotate(_text(body, "envelope").encode(), signer)
    return {"version": version, "signer": signer.id}


async def _gateways(cloud: Cloud, _: Request) -> Any:
    return [_gateway(row) for row in await cloud.database.run(cloud.store.gateways)]


async def _enrol(cloud: Cloud, request: Request) -> Any:
    body = await _body(request)
    address = Address.parse(_text(body, "broker")) if body.get("broker") else cloud.broker
    enrolled = await cloud.enrol(_text(body, "gateway"), address, again=body.get("replace") is True)
    return {
        "enrolment": enrolled.enrolment.decode(),
        "certificate": enrolled.certificate.decode(),
        "key": enrolled.key.decode(),
        "ca": enrolled.ca.decode(),
    }


async def _one(cloud: Cloud, request: Request) -> Any:
    name = request.path_params["gateway"]
    row = await cloud.database.run(cloud.store.gateway, name)
    return {**_gateway(row), "reports": to_wire(await cloud.database.run(cloud.store.reports, name))}


async def _deploy(cloud: Cloud, request: Request) -> Any:
    compose = (await _body(request)).get("compose")
    if not isinstance(compose, dict):
        raise InvalidInput("cannot read the request: compose must be an object")
    dry_run = request.query_params.get("dry_run") == "1"
    return await cloud.deploy(request.path_params["gateway"], request.path_params["app"], compose, dry_run=dry_run)


async def _undeploy(cloud: Cloud, request: Request) -> Any:
    return await cloud.undeploy(request.path_params["gateway"], request.path_params["app"])


async def _diff(cloud: Cloud, request: Request) -> Any:
    return await cloud.database.run(cloud.deployments.diff, request.path_params["gateway"])


async def _tags(cloud: Cloud, request: Request) -> Any:
    row = await cloud.database.run(cloud.store.gateway, request.path_params["gateway"])
    return await cloud.database.run(cloud.samples.latest, row.gateway)


async def _streams(cloud: Cloud, request: Request) -> Any:
    row = await cloud.database.run(cloud.store.gateway, request.path_params["gateway"])
    return await cloud.database.run(cloud.samples.streams, row.gateway)


async def _samples(cloud: Cloud, request: Request) -> Any:
    row = await cloud.database.run(cloud.store.gateway, request.path_params["gateway"])
    after, limit = _number(request, "after", 0), _number(request, "limit", 1000)
    return await cloud.database.run(cloud.samples.page, row.gateway, after, limit, request.query_params.get("tag", ""))


async def _ask(cloud: Cloud, request: Request) -> Any:
    body = await _body(request)
    members, wait_s = body.get("ask"), body.get("wait_s", WAIT_S)
    if not isinstance(members, dict) or isinstance(wait_s, bool) or not isinstance(wait_s, int | float):
        raise InvalidInput("cannot read the request: ask must be an object and wait_s a number")
    return {"id": await cloud.operating.ask(request.path_params["gateway"], members, float(wait_s))}


async def _operations(cloud: Cloud, request: Request) -> Any:
    row = await cloud.database.run(cloud.store.gateway, request.path_params["gateway"])
    return [asdict(entry) for entry in await cloud.database.run(cloud.operations.of, row.gateway)]


async def _one_operation(cloud: Cloud, request: Request) -> Any:
    return asdict(await cloud.database.run(cloud.operations.get, request.path_params["operation"]))


async def _events(cloud: Cloud, request: Request) -> Any:
    gateway = request.query_params.get("gateway", "")
    if gateway:
        await cloud.database.run(cloud.store.gateway, gateway)

    async def lines() -> AsyncIterator[bytes]:
        with cloud.events.watch(gateway) as watcher:
            async for happened in watcher:
                yield canonical(happened) + b"\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


ROUTES: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("GET", "/v1/status", _status),
    ("GET", "/v1/keys", _keys),
    ("POST", "/v1/keys", _rotate),
    ("GET", "/v1/gateways", _gateways),
    ("POST", "/v1/gateways", _enrol),
    ("GET", "/v1/gateways/{gateway}", _one),
    ("PUT", "/v1/gateways/{gateway}/apps/{app}", _deploy),
    ("DELETE", "/v1/gateways/{gateway}/apps/{app}", _undeploy),
    ("GET", "/v1/gateways/{gateway}/diff", _diff),
    ("GET", "/v1/gateways/{gateway}/tags", _tags),
    ("GET", "/v1/gateways/{gateway}/streams", _streams),
    ("GET", "/v1/gateways/{gateway}/samples", _samples),
    ("POST", "/v1/gateways/{gateway}/operations", _ask),
    ("GET", "/v1/gateways/{gateway}/operations", _operations),
    ("GET", "/v1/operations/{operation}", _one_operation),
    ("GET", "/v1/events", _events),
)
