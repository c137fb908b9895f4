"""The one table of what the admin socket offers. Streams are one JSON object per line; `{"error": ...}` ends one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeVar

from gateway.errors import InvalidInput
from gateway.model.wire import from_wire, to_wire
from gateway.operations import Operations
from gateway.operations.execution import MAX_ENGINE_OUTPUT_BYTES, By

T = TypeVar("T")

OPERATOR: Final = By("the operator")
"""Who calls here: root of this box, whoever that is."""


@dataclass(frozen=True, slots=True)
class Call:
    operations: Operations
    path: dict[str, str]
    query: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ExecRequest:
    argv: tuple[str, ...]
    service: str = ""
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class TerminalRequest:
    argv: tuple[str, ...]
    service: str = ""
    rows: int = 24
    columns: int = 80
    term: str = "xterm"


@dataclass(frozen=True, slots=True)
class SizeRequest:
    rows: int
    columns: int


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


async def why(call: Call) -> Answer:
    explained: dict[str, Any] = to_wire(await call.operations.inspection.why(call.path["app"]))
    return explained


async def stats(call: Call) -> Answer:
    return await call.operations.inspection.stats(call.query.get("app", ""))


async def order(call: Call) -> Answer:
    version = await call.operations.order(call.path["app"], call.path["order"], OPERATOR)
    return {"app": call.path["app"], "order": call.path["order"], "version": version}


async def execute(call: Call) -> Answer:
    asked = _body(ExecRequest, call)
    return await call.operations.execution.execute(
        call.path["app"], asked.service, asked.argv, asked.timeout_s, MAX_ENGINE_OUTPUT_BYTES, OPERATOR
    )


async def open_terminal(call: Call) -> Answer:
    asked = _body(TerminalRequest, call)
    identity = await call.operations.terminals.open(
        call.path["app"], asked.service, asked.argv, asked.rows, asked.columns, asked.term, OPERATOR
    )
    return {"terminal": identity}


async def terminal_output(call: Call) -> Answer:
    return call.operations.terminals.output(call.path["terminal"])


async def terminal_input(call: Call) -> Answer:
    await call.operations.terminals.write(call.path["terminal"], call.body)
    return None


async def terminal_size(call: Call) -> Answer:
    asked = _body(SizeRequest, call)
    call.operations.terminals.resize(call.path["terminal"], asked.rows, asked.columns)
    return None


async def audit(call: Call) -> Answer:
    return [to_wire(entry) for entry in call.operations.execution.audit.entries()]


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


async def images(call: Call) -> Answer:
    return call.operations.images.list()


async def import_images(call: Call) -> Answer:
    return call.operations.images.import_archive(call.query.get("file", ""))


async def remove_image(call: Call) -> Answer:
    await call.operations.images.remove(call.query.get("image", ""))
    return None


async def purge(call: Call) -> Answer:
    await call.operations.purge(call.path["app"])
    return None


async def down(call: Call) -> Answer:
    call.operations.down()
    return None


def _body(kind: type[T], call: Call) -> T:
    """InvalidInput."""
    try:
        document = json.loads(call.body)
    except (ValueError, RecursionError) as failure:
        raise InvalidInput(f"cannot read the request: {str(failure)[:200]}") from None
    return from_wire(kind, document)


ROUTES: Final = (
    Route("GET", "/v1/status", status),
    Route("GET", "/v1/apps", apps),
    Route("GET", "/v1/apps/{app}", app),
    Route("POST", "/v1/apps/{app}/exec", execute),
    Route("POST", "/v1/apps/{app}/terminals", open_terminal),
    Route("POST", "/v1/apps/{app}/{order}", order),
    Route("GET", "/v1/apps/{app}/why", why),
    Route("GET", "/v1/apps/{app}/logs", logs),
    Route("GET", "/v1/stats", stats),
    Route("GET", "/v1/audit", audit),
    Route("GET", "/v1/terminals/{terminal}/output", terminal_output),
    Route("POST", "/v1/terminals/{terminal}/input", terminal_input),
    Route("POST", "/v1/terminals/{terminal}/size", terminal_size),
    Route("GET", "/v1/tags", tags),
    Route("PUT", "/v1/desired/{authority}", deploy),
    Route("GET", "/v1/images", images),
    Route("POST", "/v1/images", import_images),
    Route("DELETE", "/v1/images", remove_image),
    Route("DELETE", "/v1/volumes/{app}", purge),
    Route("POST", "/v1/down", down),
)
