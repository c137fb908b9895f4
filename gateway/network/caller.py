"""The agent's side of the network worker: started when it is needed, asked one thing at a time, bounded in time.

It ends by itself when it is idle; a request that finds it gone starts it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import sys
from pathlib import Path
from typing import Any, Final

import gateway
from gateway.errors import TimedOut, Unavailable, from_json

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 30.0
"""For start, imports (some seconds on a small ARM board) and all steps."""
MAX_ANSWER_BYTES: Final = 1 << 20
# Not `-m gateway.network.worker`: isolated mode does not look into a source tree, and the agent may run from one.
_START: Final = "import sys; sys.path.insert(0, sys.argv[1]); from gateway.network.worker import main; main()"
WORKER: Final = (sys.executable, "-I", "-c", _START, str(Path(gateway.__file__).parents[1]))


class WorkerCaller:
    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._one_at_a_time = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def pid(self) -> int:
        """0 when it does not run."""
        return self._process.pid if self._process is not None and self.runs else 0

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def ask(self, *steps: dict[str, Any]) -> list[Any]:
        """The result of each step. Raises what the worker found; TimedOut; Unavailable when it cannot be started."""
        line = json.dumps({"steps": steps}).encode() + b"\n"
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(self._timeout_s):
                    # It may end by itself at this very moment: asked twice at most. Every step may be repeated.
                    answer = await self._exchange(line) or await self._exchange(line)
            except TimeoutError:
                await self._end()
                raise TimedOut(f"cannot change the network: no answer after {self._timeout_s:g} s") from None
            except BaseException:
                await self._end()
                raise
        if not answer:
            raise Unavailable("cannot change the network: its worker died twice")
        document = json.loads(answer)
        if "error" in document:
            raise from_json(document["error"])
        return list(document["done"])

    async def _exchange(self, line: bytes) -> bytes:
        """Empty when the worker went away; it is not kept then."""
        if not self.runs:
            await self._start()
        assert self._reader is not None
        assert self._writer is not None
        with contextlib.suppress(OSError):
            self._writer.write(line)
            await self._writer.drain()
            if answer := await self._reader.readline():
                return answer
        await self._end()
        return b""

    async def start(self) -> None:
        """Let it begin to import, for what will be asked soon."""
        async with self._one_at_a_time:
            if not self.runs:
                await self._start()

    async def _start(self) -> None:
        await self._end()
        ours, its = socket.socketpair()
        try:
            with its:
                self._process = await asyncio.create_subprocess_exec(*WORKER, stdin=its.fileno(), stdout=2)
            self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=MAX_ANSWER_BYTES)
        except OSError as failure:
            ours.close()
            raise Unavailable(f"cannot start the network worker: {failure.strerror}") from failure

    async def close(self) -> None:
        """It ends as soon as it has done what it does."""
        async with self._one_at_a_time:
            await self._end()

    async def _end(self) -> None:
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
        if self._process is not None:
            try:
                async with asyncio.timeout(1.0):
                    await self._process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()
        self._process = self._reader = self._writer = None
