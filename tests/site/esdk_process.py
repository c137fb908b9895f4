"""The data line's rooms in a process of their own, as the agent wires them, without containers: `DIRECTORY APP...`.

Each APP gets an endpoint at `DIRECTORY/APP.main.1/esdk.sock` and may publish `meter/#`. Used by the hostile-APP test,
by that of accepted samples and by the figure esdk_call_p50.
"""

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
from gateway.model.profile import GpioLine
from gateway.outbox.outbox import Outbox
from gateway.pipeline.pipeline import Pipeline
from gateway.serving import Limits
from gateway.tags.table import TagTable
from tests.fakes.chip import MemoryChip

GRANT = Grant(
    serial=("RS485-1",),
    publish=("meter/#",),
    read=("weather/+",),
    system=("info", "time"),
    gpio={"DO1": "write", "DI1": "read"},
    uplink=Uplink(),
    rules=(Rule("overload", "meter/power", "DO1", 1, above=5000),),
)


async def main(directory: Path, apps: list[str]) -> None:
    directory.mkdir(exist_ok=True)  # killed and started again it goes on with what is there
    endpoints = Endpoints(directory)
    chip = MemoryChip()
    board = [
        GpioLine("DI1", "memory", 0),
        GpioLine("DO1", "memory", 1, output=True),
        GpioLine("DO2", "memory", 2, True),
    ]
    lines = Lines(board, directory, open_chip=chip.open)
    lines.open()
    table, commands = TagTable(), LineCommands(lines)
    outbox = Outbox(directory / "outbox.sqlite", "1a2b", 1 << 24, 0.2)
    await outbox.open()
    grants: NewsQueue[Mapping[str, Grant]] = NewsQueue(1)
    pipeline = Pipeline(table, outbox, commands, grants)
    pipeline.configure({f"{app}.main": GRANT for app in apps})
    ports = Ports(SerialBuses([], directory), commands, table, pipeline, Facts(directory))
    server = EsdkServer(endpoints.changes(), ports, Limits(), 256)
    for app in apps:
        endpoints.bind(EndpointSpec(f"{app}.main.1", app, "main", 1, "", GRANT, {}))
    await asyncio.gather(pipeline.run(), server.run())


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), sys.argv[2:]))
