"""The one table of what the eSDK offers: method, path, body, access rule, handler. `openapi.py` prints it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from gateway.endpoints import Endpoint
from gateway.errors import InvalidInput
from gateway.esdk_server import access
from gateway.esdk_server.bodies import Publish, SetLine, Transact, decode, published, serial_request
from gateway.esdk_server.ports import Ports
from gateway.model.names import is_tag_pattern
from gateway.model.tags import Sample
from gateway.model.wire import to_wire

MAX_KEY_CHARS: Final = 128


@dataclass(frozen=True, slots=True)
class Call:
    """One request, taken apart."""

    endpoint: Endpoint
    ports: Ports
    path: dict[str, str]
    query: dict[str, str]
    body: bytes
    idempotency_key: str
    max_unread_events: int


Answer = dict[str, Any] | list[Any] | AsyncIterator[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    summary: str
    needs: str
    """The manifest key that allows it; empty: every APP may."""
    handler: Callable[[Call], Awaitable[Answer]]
    body: type | None = None
    query: tuple[str, ...] = ()
    stream: bool = False


async def get_app(call: Call) -> Answer:
    spec = call.endpoint.spec
    return {
        "app": spec.app,
        "service": spec.service,
        "generation": spec.generation,
        "version": spec.version,
        "settings": dict(spec.settings),
        "grant": to_wire(spec.grant),
    }


async def get_system(call: Call) -> Answer:
    grant = call.endpoint.spec.grant
    facts = call.ports.system.facts()
    if "info" not in grant.system:
        access.may_know(grant, "time")
        return {"time": facts["time"]}
    return facts


async def transact(call: Call) -> Answer:
    port, spec = call.path["port"], call.endpoint.spec
    access.may_transact(spec.grant, port)
    body = decode(Transact, call.body)
    request = serial_request(body)
    began = time.monotonic()
    answer = await call.ports.serial.transact(
        port, request, framing=str(body.framing), timeout_s=body.timeout_ms / 1000, owner=spec.owner
    )
    return {"data": answer.hex(), "elapsed_ms": round((time.monotonic() - began) * 1000, 3)}


async def get_tags(call: Call) -> Answer:
    return [_sample(sample) for sample in call.ports.tags.select(_patterns(call))]


async def post_tags(call: Call) -> Answer:
    spec = call.endpoint.spec
    body = decode(Publish, call.body)
    samples = published(body, spec.owner)
    access.may_publish(spec.grant, {sample.tag for sample in samples})
    if len(call.idempotency_key) > MAX_KEY_CHARS:
        raise InvalidInput(f"cannot publish: Idempotency-Key has more than {MAX_KEY_CHARS} characters")
    done = await call.ports.ingest.ingest(samples, owner=spec.owner, durable=body.durable, key=call.idempotency_key)
    answer: dict[str, Any] = {"accepted": done.accepted, "durable": done.durable}
    if done.durable:
        answer["sequence"] = [done.first, done.last]
    if done.window_s:
        answer["window_s"] = done.window_s
    return answer


async def tag_events(call: Call) -> Answer:
    return _events(call, _patterns(call))


async def _events(call: Call, patterns: tuple[str, ...]) -> AsyncIterator[dict[str, Any]]:
    subscription = call.ports.tags.subscribe(patterns, call.max_unread_events)
    dropped = 0
    try:
        async for sample in subscription:
            event = _sample(sample)
            if subscription.dropped > dropped:
                event["dropped"] = subscription.dropped - dropped
                dropped = subscription.dropped
            yield event
    finally:
        subscription.close()


async def get_line(call: Call) -> Answer:
    line = call.path["line"]
    access.may_read_line(call.endpoint.spec.grant, line)
    return await call.ports.lines.read(line)


async def put_line(call: Call) -> Answer:
    line, spec = call.path["line"], call.endpoint.spec
    access.may_set_line(spec.grant, line)
    body = decode(SetLine, call.body)
    if body.value not in (0, 1):
        raise InvalidInput(f"cannot set line {line} to {body.value}: it must be 0 or 1")
    return await call.ports.lines.set(line, body.value, spec.owner)


def _patterns(call: Call) -> tuple[str, ...]:
    wanted = call.query.get("match", "#")
    if not is_tag_pattern(wanted):
        raise InvalidInput(f"cannot read tags {wanted[:80]!r}: it is no tag pattern, as meter/power or meter/#")
    return access.readable(call.endpoint.spec.grant, wanted)


def _sample(sample: Sample) -> dict[str, Any]:
    """Every field, also those that hold a default: an APP should not have to know defaults."""
    return {
        "tag": sample.tag,
        "value": sample.value,
        "time_ns": sample.time_ns,
        "unit": sample.unit,
        "quality": sample.quality.value,
        "source": sample.source,
    }


ROUTES: Final = (
    Route("GET", "/v1/app", "Who am I, my settings and what I may touch", "", get_app),
    Route("GET", "/v1/system", "The board and its state; only the time without `info`", "system", get_system),
    Route(
        "POST", "/v1/serial/{port}/transact", "Send a request on a bus and get the answer", "serial", transact, Transact
    ),
    Route("GET", "/v1/tags", "The latest sample of each tag that matches", "tags.read", get_tags, query=("match",)),
    Route("POST", "/v1/tags", "Publish samples", "tags.publish", post_tags, Publish),
    Route(
        "GET", "/v1/tags/events", "New samples as server-sent events", "tags.read", tag_events,
        query=("match",), stream=True,
    ),
    Route("GET", "/v1/gpio/{line}", "State of a digital line", "gpio", get_line),
    Route("PUT", "/v1/gpio/{line}", "Set an output", "gpio", put_line, SetLine),
)  # fmt: skip
