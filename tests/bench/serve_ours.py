"""Our side of `esdk_call_p50`: `python -m tests.bench.serve_ours SOCKET-DIRECTORY`: rooms as the agent wires them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

import uvloop

from gateway.endpoints import Endpoints, EndpointSpec
from gateway.esdk_server.ports import Ports
from gateway.esdk_server.server import EsdkServer
from gateway.field.line_commands import LineCommands
from gateway.field.lines import Lines
from gateway.field.serial_buses import SerialBuses
from gateway.host.facts import Facts
from gateway.lifecycle.queue import NewsQueue
from gateway.model.app import Grant, Rule, Uplink
from gateway.outbox.outbox import Outbox
from gateway.pipeline.pipeline import Pipeline
from gateway.serving import Limits
from gateway.tags.table import TagTable

GRANT = Grant(
    publish=("meter/#",),
    gpio={"DO1": "write"},
    uplink=Uplink(),
    rules=(Rule("overload", "meter/power", "DO1", 1, above=5000),),
)


async def main(directory: Path) -> None:
    directory.mkdir()
    endpoints = Endpoints(directory)
    table, lines = TagTable(), LineCommands(Lines([], directory))
    outbox = Outbox(directory / "outbox.sqlite", "1a2b", 1 << 24, 0.2)
    await outbox.open()
    grants: NewsQueue[Mapping[str, Grant]] = NewsQueue(1)
    pipeline = Pipeline(table, outbox, lines, grants)
    pipeline.configure({"app.main": GRANT})
    ports = Ports(SerialBuses([], directory), lines, table, pipeline, Facts(directory))
    server = EsdkServer(endpoints.changes(), ports, Limits(), 256)
    endpoints.bind(EndpointSpec("app.main.1", "app", "main", 1, "", GRANT, {}))
    await asyncio.gather(pipeline.run(), server.run())


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
