"""What a cgroup has counted (processor, memory, processes, block I/O), in one shape for cgroups v1, hybrid and v2.

Sources: Linux Documentation/admin-guide/cgroup-v1/ and cgroup-v2.rst. Used by `engines/`.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from gateway.host import cgroup
from gateway.model.stats import ContainerStats

_UNLIMITED: Final = 1 << 60
"""v1 writes "no limit" as the largest multiple of a page."""


def usage(name: str) -> ContainerStats:
    """Of the group `name`; all zero when it is gone."""
    return _v2(cgroup.ROOT / name) if cgroup.mode() is cgroup.Mode.V2 else _v1(cgroup.ROOT, name)


def usage_of(pid: int) -> ContainerStats:
    """Of the group that a process is in, wherever an engine has put it; all zero when it has gone."""
    group = cgroup.group_of(pid)
    return usage(group) if group else ContainerStats()


def _v1(root: Path, name: str) -> ContainerStats:
    memory = root / "memory" / name
    io = _io_v1(root / "blkio" / name / "blkio.throttle.io_service_bytes_recursive")
    return ContainerStats(
        cpu_ns=_number(root / "cpuacct" / name / "cpuacct.usage") or 0,
        memory_bytes=_in_use(memory / "memory.usage_in_bytes", memory / "memory.stat", "total_inactive_file"),
        memory_peak_bytes=_number(memory / "memory.max_usage_in_bytes"),
        memory_limit_bytes=_limit(memory / "memory.limit_in_bytes"),
        pids=_number(root / "pids" / name / "pids.current") or 0,
        oom_kills=cgroup.oom_kills(name),
        read_bytes=io and io[0],
        written_bytes=io and io[1],
    )


def _v2(group: Path) -> ContainerStats:
    io = _io_v2(group / "io.stat")
    return ContainerStats(
        cpu_ns=_fields(group / "cpu.stat").get("usage_usec", 0) * 1000,
        memory_bytes=_in_use(group / "memory.current", group / "memory.stat", "inactive_file"),
        memory_peak_bytes=_number(group / "memory.peak"),  # since Linux 5.19
        memory_limit_bytes=_limit(group / "memory.max"),
        pids=_number(group / "pids.current") or 0,
        oom_kills=_fields(group / "memory.events").get("oom_kill", 0),
        read_bytes=io and io[0],
        written_bytes=io and io[1],
    )


def _number(file: Path) -> int | None:
    """None when there is no such file or no number in it (`max`)."""
    with contextlib.suppress(OSError, ValueError):
        return int(file.read_text())
    return None


def _limit(file: Path) -> int | None:
    number = _number(file)
    return number if number is not None and number < _UNLIMITED else None


def _fields(file: Path) -> dict[str, int]:
    """`name number` per line; empty when there is no such file."""
    with contextlib.suppress(OSError):
        lines = (line.partition(" ") for line in file.read_text().splitlines())
        return {name: int(value) for name, _, value in lines if value.isdecimal()}
    return {}


def _in_use(usage_file: Path, stat: Path, droppable: str) -> int:
    return max(0, (_number(usage_file) or 0) - _fields(stat).get(droppable, 0))


def _io_v1(file: Path) -> tuple[int, int] | None:
    """(read, written): lines `8:0 Read 4096`, `8:0 Write 0`, ..., at the end `Total 4096`."""
    with contextlib.suppress(OSError):
        lines = [line.split() for line in file.read_text().splitlines()]
        counted = [(fields[1], int(fields[2])) for fields in lines if len(fields) == 3]
        return _sum(counted, "Read"), _sum(counted, "Write")
    return None


def _io_v2(file: Path) -> tuple[int, int] | None:
    """(read, written): lines `8:0 rbytes=4096 wbytes=0 rios=1 ...`."""
    with contextlib.suppress(OSError):
        words = [word.partition("=") for word in file.read_text().split()]
        counted = [(key, int(value)) for key, equals, value in words if equals]
        return _sum(counted, "rbytes"), _sum(counted, "wbytes")
    return None


def _sum(counted: list[tuple[str, int]], key: str) -> int:
    return sum(number for name, number in counted if name == key)
