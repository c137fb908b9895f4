"""The one table of what the admin socket offers. Streams are one JSON object per line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from gateway.errors import InvalidInput
from gateway.model.wire import to_wire
from gateway.operations import Operations

OPERATOR: Final = "the operator"
"""Who calls here: root of this box, whoever that is."""


@dataclass(frozen=True, slots=True)
class Call:
    operations: Operations
    path: dict[str, str]
    query: dict[str, str]
    body: bytes


Answer = dict[str, Any] | list[Any] | AsyncIterator[Any] | None


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    handler: Callable[[Call], Awaitable[Answer]]


async def status(call: Call) -> Answer:
    return call.operations.status()


async def apps(call: Call) -> Answer:
    return call.operations.apps()


async def app(call: Call) -> Answer:
    return call.operations.report(call.path["app"])


async def control(call: Call) -> Answer:
    await call.operations.control(call.path["app"], call.path["action"])
    return None


async def why(call: Call) -> Answer:
    explained: dict[str, Any] = to_wire(await call.operations.inspection.why(call.path["app"]))
    return explained


async def stats(call: Call) -> Answer:
    return await call.operations.inspection.stats(call.query.get("app", ""))


async def order(call: Call) -> Answer:
    version = await call.operations.order(call.path["app"], call.path["order"], OPERATOR)
    return {"app": call.path["app"], "order": call.path["order"], "version": version}


async def logs(call: Call) -> Answer:
    tail = call.query.get("tail", "100")
    if not tail.isdecimal():
        raise InvalidInput(f"cannot show {tail[:20]!r} lines: tail must be a number")
    lines = call.operations.logs(
        call.path["app"], call.query.get("service", ""), int(tail), call.query.get("follow") == "1"
    )
    return (to_wire(line) async for line in lines)


async def tags(call: Call) -> Answer:
    patterns = call.query.get("match", "#").split(",")
    if call.query.get("follow") == "1":
        samples = call.operations.follow_tags(patterns)
        return (asdict(sample) async for sample in samples)
    return [asdict(sample) for sample in call.operations.tags(patterns)]


async def deploy(call: Call) -> Answer:
    return await call.operations.deploy(call.path["authority"], call.body)


async def purge(call: Call) -> Answer:
    await call.operations.purge(call.path["app"])
    return None


async def down(call: Call) -> Answer:
    call.operations.down()
    return None


ROUTES: Final = (
    Route("GET", "/v1/status", status),
    Route("GET", "/v1/apps", apps),
    Route("GET", "/v1/apps/{app}", app),
    Route("POST", "/v1/apps/{app}/{action}", control),
    Route("POST", "/v1/apps/{app}/orders/{order}", order),
    Route("GET", "/v1/apps/{app}/why", why),
    Route("GET", "/v1/apps/{app}/logs", logs),
    Route("GET", "/v1/stats", stats),
    Route("GET", "/v1/tags", tags),
    Route("PUT", "/v1/desired/{authority}", deploy),
    Route("DELETE", "/v1/volumes/{app}", purge),
    Route("POST", "/v1/down", down),
)
