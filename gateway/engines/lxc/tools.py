"""Speaks with `lxc-start` and with the hook in which a created container waits."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from pathlib import Path
from typing import Final

from gateway.engines.lxc import report
from gateway.errors import InvalidInput, TimedOut, ToolFailed, Unavailable
from gateway.host import pids
from gateway.host.pids import ProcessId

START_TIMEOUT_S: Final = 30.0
EXEC_SLACK_S: Final = 20.0
POLL_S: Final = 0.002
MAX_EXEC_OUTPUT_BYTES: Final = 64 << 10
LOCKS: Final = Path("/run/lxc/lock")
"""Where lxc keeps a lock file for every container that it ever saw."""


async def created(directory: Path, monitor: int) -> int:
    """Wait until `lxc-start` (pid `monitor`) has everything ready; the pid of the first process inside.

    ToolFailed with lxc's own words. TimedOut.
    """
    starting = pids.identify(monitor)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                alive = starting.alive()  # first: what it wrote before it ended is there afterwards
                with contextlib.suppress(OSError, ValueError):
                    if (said := (directory / "init.pid").read_text()).endswith("\n"):
                        return int(said)
                if not alive:
                    raise _failed(directory)
                await asyncio.sleep(POLL_S)
    raise TimedOut(f"cannot create {directory.name}: lxc-start is not ready after {START_TIMEOUT_S:g} s")


async def release(directory: Path, word: str) -> None:
    """Tell the hook to go on: `go`, or anything else to give up. Unavailable: nobody waits there."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            while True:
                if _say(directory / "go", word):
                    return
                await asyncio.sleep(POLL_S)
    raise Unavailable(f"cannot start {directory.name}: it does not wait for it")


def _say(fifo: Path, word: str) -> bool:
    """False when no reader has it open yet."""
    try:
        descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as failure:
        if failure.errno == errno.ENXIO:
            return False
        raise Unavailable(f"cannot reach {fifo.parent.name}: {failure.strerror}") from failure
    try:
        os.write(descriptor, f"{word}\n".encode())
    finally:
        os.close(descriptor)
    return True


def waits(process: ProcessId) -> bool:
    """Whether the first process is still lxc's own: the program that it is to become was not started yet."""
    with contextlib.suppress(OSError):
        return process.alive() and Path(os.readlink(f"/proc/{process.pid}/exe")).name == "lxc-start"
    return False


async def started(directory: Path, process: ProcessId, monitor: ProcessId) -> None:
    """Wait until the program runs, or has run. ToolFailed when there is none. TimedOut."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                if not waits(process):
                    break
                await asyncio.sleep(POLL_S)
            if process.alive():
                # The rules of seccomp alone are 250 kB there, and the file is in memory.
                os.truncate(directory / "lxc.log", 0)
                return
            await pids.wait_gone(monitor, START_TIMEOUT_S)
            if report.failure(_log(directory)):
                raise _failed(directory)
            return
    raise TimedOut(f"cannot start {directory.name}: no program runs after {START_TIMEOUT_S:g} s")


def _log(directory: Path) -> str:
    try:
        return (directory / "lxc.log").read_text(errors="replace")
    except OSError:
        return ""


def _failed(directory: Path) -> ToolFailed:
    return ToolFailed(("lxc-start", directory.name), 1, report.failure(_log(directory)) or "no reason given")


def exit_code(directory: Path, code: int) -> int:
    return report.exit_code(_log(directory), code)


def oom_killed(directory: Path) -> bool:
    try:
        return report.oom_kills((directory / "memory").read_text()) > 0
    except OSError:
        return False


def signal_number(name: str) -> int:
    """`SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`. InvalidInput for anything else."""
    word, plus, offset = name.upper().removeprefix("SIG").partition("+")
    if word.isdecimal() and not plus:
        return int(word)
    with contextlib.suppress(KeyError, ValueError):
        return signal.Signals[f"SIG{word}"] + (int(offset) if plus else 0)
    raise InvalidInput(f"cannot send signal {name}: no such signal")


def send(process: ProcessId, number: int) -> None:
    """Send a signal to exactly this process; fine if it has ended."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(process.pid)
        try:
            if process.alive():
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def forget_lock(directory: Path) -> None:
    """Remove what lxc leaves behind of a container, and the directories that are empty then."""
    place = LOCKS / str(directory.parent).lstrip("/")
    with contextlib.suppress(OSError):
        (place / f".{directory.name}").unlink()
    with contextlib.suppress(OSError):
        while place != LOCKS.parent.parent:
            place.rmdir()
            place = place.parent
