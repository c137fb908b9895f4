"""Run a program and wait for it: bounded in time and output, killed when the caller is cancelled.

By `subprocess.Popen`, which makes the process by vfork(2) in less than a millisecond: the event loop's own way forks,
which takes 10 to 20 ms of an agent and stops everything else meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from gateway.errors import TimedOut, ToolFailed, Unavailable

MAX_OUTPUT_BYTES = 1 << 20
_CHUNK_BYTES = 64 << 10
OOM_SCORE = -900
"""What it starts inherits it; a container has a score of its own."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended. `exit_code` is negative for a signal."""

    exit_code: int
    stdout: bytes
    stderr: bytes


def shield_from_oom() -> bool:
    """Ask the kernel to take others first when the machine runs out of memory; False where this process may not ask."""
    try:
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    except OSError:
        return False
    return True


async def run_tool(
    argv: Sequence[str],
    *,
    timeout_s: float,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    check: bool = True,
    pass_fds: Sequence[int] = (),
    max_output_bytes: int = MAX_OUTPUT_BYTES,
    merged: bool = False,
    executor: Executor | None = None,
) -> Finished:
    """Run `argv` to its end. Its stdin is `stdin`; stdout and stderr are kept up to `max_output_bytes` each.

    `merged`: stderr goes where stdout goes, in the order in which both were written. `executor`: its thread starts the
    program, which then has that thread's namespaces. The program must close its outputs when it ends: something that
    daemonises and keeps them would be waited for.
    ToolFailed: a non-zero exit code (unless `check` is False). TimedOut. Unavailable: it cannot be started.
    """
    start = partial(_start, argv, bool(stdin), environment, pass_fds, merged)
    process = start() if executor is None else await _start_on(executor, start)
    with _ended(process) as ended:
        try:
            async with asyncio.timeout(timeout_s):
                outputs = await asyncio.gather(
                    _read(process.stdout, max_output_bytes),
                    _read(process.stderr, max_output_bytes),
                    _feed(process.stdin, stdin),
                )
                await ended.wait()
        except TimeoutError:
            raise TimedOut(f"cannot finish {argv[0]}: no end after {timeout_s:g} s") from None
        finally:
            if not ended.is_set():
                process.kill()
                await ended.wait()
            exit_code = process.wait()
    if check and exit_code != 0:
        raise ToolFailed(argv, exit_code, outputs[1].decode(errors="replace"))
    return Finished(exit_code, outputs[0], outputs[1])


async def _start_on(executor: Executor, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    starting = asyncio.get_running_loop().run_in_executor(executor, start)
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:  # it is started all the same
        process = await starting
        process.kill()
        with _ended(process) as ended:
            await ended.wait()
        process.wait()
        raise


def _start(
    argv: Sequence[str], has_input: bool, environment: Mapping[str, str] | None, pass_fds: Sequence[int], merged: bool
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if has_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE,
            env=environment,
            pass_fds=tuple(pass_fds),
        )
    except OSError as failure:
        raise Unavailable(f"cannot run {argv[0]}: {failure.strerror}") from failure


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[asyncio.Event]:
    """Set when it has ended. Closes its pipes."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    descriptor = os.pidfd_open(process.pid)
    loop.add_reader(descriptor, ended.set)
    try:
        yield ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


async def _read(pipe: IO[bytes] | None, limit: int) -> bytes:
    """Everything up to `limit`; what follows is read and dropped, so that the program does not block."""
    kept = bytearray()
    if pipe is None:
        return b""
    descriptor, loop = pipe.fileno(), asyncio.get_running_loop()
    at_end: asyncio.Future[None] = loop.create_future()

    def readable() -> None:
        try:
            chunk = os.read(descriptor, _CHUNK_BYTES)
        except BlockingIOError:
            return
        kept.extend(chunk[: max(0, limit - len(kept))])
        if not chunk:
            loop.remove_reader(descriptor)
            if not at_end.done():
                at_end.set_result(None)

    os.set_blocking(descriptor, False)
    loop.add_reader(descriptor, readable)
    try:
        await at_end
    finally:
        loop.remove_reader(descriptor)
    return bytes(kept)


async def _feed(pipe: IO[bytes] | None, data: bytes) -> None:
    if pipe is None:
        return
    descriptor, loop = pipe.fileno(), asyncio.get_running_loop()
    writable = asyncio.Event()
    os.set_blocking(descriptor, False)
    rest = memoryview(data)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while rest:
            try:
                rest = rest[os.write(descriptor, rest) :]
            except BlockingIOError:
                writable.clear()
                loop.add_writer(descriptor, writable.set)
                try:
                    await writable.wait()
                finally:
                    loop.remove_writer(descriptor)
    pipe.close()
