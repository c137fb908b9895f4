"""Run a program and wait for it: bounded in time and output, killed when the caller is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.errors import TimedOut, ToolFailed, Unavailable

MAX_OUTPUT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended. `exit_code` is negative for a signal."""

    exit_code: int
    stdout: bytes
    stderr: bytes


async def run_tool(
    argv: Sequence[str],
    *,
    timeout_s: float,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    check: bool = True,
    pass_fds: Sequence[int] = (),
    max_output_bytes: int = MAX_OUTPUT_BYTES,
) -> Finished:
    """Run `argv` to its end. Its stdin is `stdin`; stdout and stderr are kept up to `max_output_bytes` each.

    The program must close its outputs when it ends: something that daemonises and keeps them would be waited for.
    ToolFailed: a non-zero exit code (unless `check` is False). TimedOut. Unavailable: it cannot be started.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            pass_fds=tuple(pass_fds),
        )
    except OSError as failure:
        raise Unavailable(f"cannot run {argv[0]}: {failure.strerror}") from failure
    try:
        async with asyncio.timeout(timeout_s):
            outputs = await asyncio.gather(
                _read(process.stdout, max_output_bytes), _read(process.stderr, max_output_bytes), _feed(process, stdin)
            )
            exit_code = await process.wait()
    except TimeoutError:
        raise TimedOut(f"cannot finish {argv[0]}: no end after {timeout_s:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if check and exit_code != 0:
        raise ToolFailed(argv, exit_code, outputs[1].decode(errors="replace"))
    return Finished(exit_code, outputs[0], outputs[1])


async def _read(stream: asyncio.StreamReader | None, limit: int) -> bytes:
    """Everything up to `limit`; what follows is read and dropped, so that the program does not block."""
    kept = bytearray()
    while stream is not None and (chunk := await stream.read(65536)):
        kept += chunk[: max(0, limit - len(kept))]
    return bytes(kept)


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    if process.stdin is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()
