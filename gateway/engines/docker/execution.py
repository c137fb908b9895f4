"""Programs that are run inside a container: to their end with their output, or on a terminal.

There is no request that ends one: its pid is one of this machine, and it is killed from here. Source: Docker Engine API
1.41, `ContainerExec`, `ExecStart`, `ExecResize`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from typing import Any, Final

from gateway.engines.base import ExecResult
from gateway.engines.docker.http import Api
from gateway.engines.docker.logs import frames
from gateway.errors import FieldgateError, NotFound, TimedOut, ToolFailed

MAX_OUTPUT_BYTES: Final = 64 << 10
END_WAIT_S: Final = 5.0
WRITE_TIMEOUT_S: Final = 5.0
RESIZE_TRIES: Final = 50
PAUSE_S: Final = 0.02
READ_BYTES: Final = 16 << 10
CANNOT_EXECUTE: Final = 126
"""Exit code of a command that could not be started, as shells have it."""
UNKNOWN: Final = 255


class Execution:
    """One program; `create` first."""

    def __init__(self, api: Api, identity: str, name: str) -> None:
        self._api = api
        self._path = f"/exec/{identity}"
        self._name = name

    @classmethod
    async def create(cls, api: Api, container_path: str, argv: Sequence[str], **options: Any) -> Execution:
        """NotFound: no such container."""
        body = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(argv), **options}
        created = await api.call("POST", f"{container_path}/exec", None, body)
        return cls(api, created["Id"], argv[0])

    async def run(self, timeout_s: float) -> ExecResult:
        """To its end. TimedOut: killed."""
        output = bytearray()
        try:
            async with asyncio.timeout(timeout_s), self._api.open("POST", f"{self._path}/start", None, {}) as pieces:
                async for _, data in frames(pieces):
                    output += data
                    del output[:-MAX_OUTPUT_BYTES]
            return ExecResult(await self.exit_code(END_WAIT_S), bytes(output))
        except (NotFound, ToolFailed) as failure:
            return ExecResult(CANNOT_EXECUTE, failure.message.encode())
        except TimeoutError:
            await self.kill()
            raise TimedOut(f"cannot finish {self._name}: no end after {timeout_s:g} s") from None

    async def open_terminal(self, rows: int, columns: int) -> DockerTerminal:
        """It was created with `Tty` and `AttachStdin`. ToolFailed: it cannot be started."""
        reader, writer = await self._api.hijack(f"{self._path}/start", {"Tty": True})
        terminal = DockerTerminal(self, reader, writer)
        try:
            await self.resize(rows, columns)
        except BaseException:
            await asyncio.shield(terminal.close())
            raise
        return terminal

    async def resize(self, rows: int, columns: int) -> None:
        """Fine when it has ended, or does not begin to run in a second."""
        for _ in range(RESIZE_TRIES):
            try:
                await self._api.call("POST", f"{self._path}/resize", {"h": str(rows), "w": str(columns)})
            except NotFound:
                return
            except FieldgateError:  # it does not run: not yet, or not any more
                await asyncio.sleep(PAUSE_S)
            else:
                return

    async def exit_code(self, timeout_s: float | None) -> int:
        """When its outputs are closed the daemon may know of its end a moment later. TimedOut: it goes on.

        UNKNOWN when the daemon has forgotten it.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s if timeout_s is not None else None
        while True:
            try:
                document = await self._inspect()
            except NotFound:
                return UNKNOWN
            if not document.get("Running") and document.get("ExitCode") is not None:
                return int(document["ExitCode"])
            if deadline is not None and asyncio.get_running_loop().time() > deadline:
                raise TimedOut(f"cannot finish {self._name}: it has closed its outputs and goes on")
            await asyncio.sleep(PAUSE_S)

    async def kill(self) -> None:
        """Fine if it has ended."""
        with contextlib.suppress(FieldgateError, OSError, TypeError, ValueError):
            document = await self._inspect()
            if document.get("Running") and int(document.get("Pid") or 0) > 1:
                os.kill(int(document["Pid"]), signal.SIGKILL)

    async def _inspect(self) -> dict[str, Any]:
        document: dict[str, Any] = await self._api.call("GET", f"{self._path}/json")
        return document


class DockerTerminal:
    """`engines.base.Terminal` on the connection that the daemon has given up for it."""

    def __init__(self, execution: Execution, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._execution = execution
        self._reader = reader
        self._writer = writer
        self._resizing: set[asyncio.Task[None]] = set()

    async def read(self) -> bytes:
        """What was printed since, at least a byte; empty when the program has let go of its terminal."""
        try:
            return await self._reader.read(READ_BYTES)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        """Type it. TimedOut when the program does not take it; fine when it has ended."""
        with contextlib.suppress(OSError):
            self._writer.write(data)
            try:
                async with asyncio.timeout(WRITE_TIMEOUT_S):
                    await self._writer.drain()
            except TimeoutError:
                raise TimedOut(f"cannot type: nothing was read for {WRITE_TIMEOUT_S:g} s") from None

    def resize(self, rows: int, columns: int) -> None:
        task = asyncio.create_task(self._execution.resize(rows, columns), name="resize")
        self._resizing.add(task)
        task.add_done_callback(self._resizing.discard)

    async def wait(self) -> int:
        """Its exit code; 128 + n for signal n."""
        return await self._execution.exit_code(None)

    async def close(self) -> None:
        """Killed inside, if it still runs."""
        for task in self._resizing:
            task.cancel()
        await asyncio.gather(*self._resizing, return_exceptions=True)
        await self._execution.kill()
        self._writer.close()
