"""What is known of a container that conmon watches, from its record, its processes and the exit code that conmon wrote.

Shared by the engines that use conmon; each adds what only it knows (the runtime's view, kills for want of memory).
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Final

from gateway.engines.base import ContainerState, ContainerStatus
from gateway.engines.instance import instance_name
from gateway.engines.records import Record, Records
from gateway.host import pids

EXIT_FILE_WAIT_S: Final = 2.0
UNKNOWN_EXIT_CODE: Final = 255


def groups(run: Path) -> tuple[str, str]:
    """The cgroups of the engine in `run`: of its containers, of their monitors. Several agents may share a machine."""
    name = instance_name(run)
    return name, f"{name}-monitors"


def status(records: Records, container: str, record: Record) -> ContainerStatus:
    """As it is now."""
    process = records.process(container)
    started_ns = records.started_ns(container)
    found = ContainerStatus(
        record.app, record.service, record.generation, record.digest, ContainerState.CREATED, started_ns=started_ns
    )
    ended = records.exit(container)
    if ended is None and process is not None and (process.alive() or is_monitored(records, container)):
        return replace(found, state=ContainerState.RUNNING if started_ns else found.state, pid=process.pid)
    # Read once more: conmon may have written it and gone since the first look.
    code, finished_ns = ended or records.exit(container) or (UNKNOWN_EXIT_CODE, 0)
    return replace(found, state=ContainerState.EXITED, exit_code=code, finished_ns=finished_ns)


def is_monitored(records: Records, container: str) -> bool:
    """Its conmon lives, so an exit code is still to come."""
    with contextlib.suppress(OSError):
        comm = Path(f"/proc/{records.monitor(container)}/comm").read_text().strip()
        return comm == "conmon" and pids.identify(records.monitor(container)).alive()
    return False


async def exit_written(records: Records, container: str) -> None:
    """conmon writes the exit code a moment after the death; whoever asks next wants to see it."""
    deadline = asyncio.get_running_loop().time() + EXIT_FILE_WAIT_S
    while records.exit(container) is None and is_monitored(records, container):
        if asyncio.get_running_loop().time() > deadline:
            return
        await asyncio.sleep(0.002)
