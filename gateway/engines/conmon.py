"""conmon: one small C process per container that keeps its output, waits for it and writes down its exit code.

It outlives the agent. Protocol of the two pipes: conmon(8) and its source, `--api-version 1`.
"""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gateway.errors import TimedOut, ToolFailed, Unavailable
from gateway.host import cgroup

log = logging.getLogger(__name__)

CREATE_TIMEOUT_S = 30.0
CPUS = 0.1
"""Of one processor, for what it copies into the log: an APP that writes faster waits, and no neighbour does."""


@dataclass(frozen=True, slots=True)
class Monitor:
    """How to start conmon for one container."""

    container: str
    bundle: Path
    exits: Path
    log_file_bytes: int
    """When a file of the log's ring is full."""
    executor: Executor | None
    """Its thread starts conmon, which then lives in that thread's mount namespace; None: whoever asks."""
    runtime: str
    arguments: tuple[str, ...]
    """Of the runtime, before the ones that conmon adds: `create --bundle DIRECTORY --pid-file FILE CONTAINER`."""
    cgroup: str
    """Where this one is to live: not in the agent's group, or it dies with a restart of the agent's unit."""


def create(monitor: Monitor) -> int:
    """Start conmon, which has the runtime create the container; its main process's pid, waiting to be started.

    Blocks for some 20 ms: run it in a thread. ToolFailed with the runtime's own words; TimedOut; Unavailable.
    """
    sync_read, sync_write = os.pipe2(os.O_CLOEXEC)
    start_read, start_write = os.pipe2(os.O_CLOEXEC)
    argv = _argv(monitor)
    try:
        spawn = partial(_spawn, argv, monitor.bundle, sync_write, start_read)
        spawned = spawn() if monitor.executor is None else monitor.executor.submit(spawn).result(CREATE_TIMEOUT_S)
        os.close(sync_write)
        os.close(start_read)
        sync_write = start_read = -1
        _leave_our_cgroup(spawned.pid, monitor.cgroup)
        os.write(start_write, b"\0")
        answer = _read_line(sync_read, CREATE_TIMEOUT_S)
        spawned.wait()  # conmon has forked away; what we spawned ends at once
    finally:
        for descriptor in (sync_read, sync_write, start_read, start_write):
            if descriptor >= 0:
                os.close(descriptor)
    return _pid_of(answer, argv)


def _argv(monitor: Monitor) -> list[str]:
    bundle, name = monitor.bundle, monitor.container
    return [
        "conmon", "--api-version", "1", "-c", name, "-u", name, "-n", name, "-r", monitor.runtime,
        "-b", str(bundle), "-p", str(bundle / "pidfile"), "-P", str(bundle / "conmon.pid"),
        "-l", f"k8s-file:{bundle / 'ctr.log'}", "--log-size-max", str(monitor.log_file_bytes), "--no-sync-log",
        "--exit-dir", str(monitor.exits), "--persist-dir", str(bundle), "--socket-dir-path", str(bundle),
        "--full-attach", "--log-level", "error",
        *(word for argument in monitor.arguments for word in ("--runtime-arg", argument)),
    ]  # fmt: skip


def _spawn(argv: list[str], bundle: Path, sync_write: int, start_read: int) -> subprocess.Popen[bytes]:
    environment = {"_OCI_SYNCPIPE": str(sync_write), "_OCI_STARTPIPE": str(start_read), "PATH": os.environ["PATH"]}
    try:
        return subprocess.Popen(
            argv,
            cwd=bundle,  # conmon leaves a file `oom` where it stands
            env=environment,
            pass_fds=(sync_write, start_read),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError as failure:
        raise Unavailable(f"cannot run {argv[0]}: {failure.strerror}") from failure


def _leave_our_cgroup(pid: int, group: str) -> None:
    try:
        cgroup.move(pid, group)
    except OSError as refused:
        log.warning("conmon stays in the agent's cgroup: the unit needs KillMode=process cause=%s", refused)
        return
    try:
        cgroup.limit(group, cpus=CPUS)
    except OSError as refused:
        log.warning("a flood of log lines may take a processor cause=%s", refused)


def _read_line(descriptor: int, timeout_s: float) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        if not select.select([descriptor], [], [], timeout_s)[0]:
            raise TimedOut(f"cannot create container: conmon said nothing for {timeout_s:g} s")
        chunk = os.read(descriptor, 65536)
        if not chunk:
            break
        line += chunk
    return line


def _pid_of(answer: bytes, argv: Sequence[str]) -> int:
    try:
        document = json.loads(answer)
        pid = int(document.get("data", document.get("pid", -1)))
    except (ValueError, AttributeError, TypeError):
        raise ToolFailed(argv, 1, f"conmon answered {answer[:200]!r}") from None
    if pid < 0:
        raise ToolFailed(argv, 1, str(document.get("message", "no reason given")))
    return pid
