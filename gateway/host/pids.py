"""Processes that are not our children: are they alive, and are they still the ones that we meant.

A pid is used again after it wrapped (32768 on many boards), so a process is named by its pid and its start time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PF_EXITING: Final = 0x4
"""In the flags of /proc/PID/stat, field 9 (include/linux/sched.h)."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    pid: int
    start_ticks: int
    """Field 22 of /proc/PID/stat: clock ticks since boot."""

    def alive(self) -> bool:
        """True while exactly this process exists and is no zombie."""
        return self.pid > 0 and _stat(self.pid) == (self.start_ticks, True)

    def ending(self) -> bool:
        """True when it has ended or is doing so: the first process of a pid namespace first has all others killed."""
        if not self.alive():
            return True
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return True
        return bool(int(fields[6]) & PF_EXITING)


def identify(pid: int) -> ProcessId:
    """The process that has this pid now; one that is never alive when there is none."""
    start_ticks, _ = _stat(pid)
    return ProcessId(pid, start_ticks)


def _stat(pid: int) -> tuple[int, bool]:
    """(start time, runs); (-1, False) when there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1, False
    return int(fields[19]), fields[0] not in ("Z", "X")


def kill_session(leader: int) -> None:
    """SIGKILL to `leader` and to every process of its session, also in a PID namespace below ours."""
    for _ in range(2):  # once more: one of them may have forked meanwhile
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                pid = int(entry.name)
                session = int((entry / "stat").read_text().rpartition(")")[2].split()[3])
                if leader in (pid, session):
                    os.kill(pid, signal.SIGKILL)


async def wait_gone(process: ProcessId, timeout_s: float) -> bool:
    """Wait on a pidfd until the process has ended; False when it still lives after `timeout_s`."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return True
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    try:
        if not process.alive():
            return True
        loop.add_reader(descriptor, gone.set)
        try:
            async with asyncio.timeout(timeout_s):
                await gone.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(descriptor)
        return True
    finally:
        os.close(descriptor)
