"""A program inside a container on a terminal. crun hands over the terminal's master end, runc relays to a pty of ours.

Both keep the exit code, and cost the runtime's process for as long as it lasts. runc learns of a new window size by
SIGWINCH, since our pty is its controlling terminal; crun forwards none, and so gets `--console-socket` (which runc
takes only with `--detach`, that is, without an exit code).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import socket
import struct
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

from gateway.errors import TimedOut, ToolFailed, Unavailable
from gateway.host.pids import kill_session

READ_BYTES: Final = 16 << 10
WRITE_TIMEOUT_S: Final = 5.0
END_WAIT_S: Final = 10.0
PID_PAUSE_S: Final = 0.05
OPEN_TIMEOUT_S: Final = 20.0


class PtyTerminal:
    """Made by `open_relay()` or `open_console()`; `engines.base.Terminal`."""

    def __init__(self, master: int, runner: asyncio.subprocess.Process, scratch: Path) -> None:
        self._master = master
        self._runner = runner
        self._scratch = scratch

    async def read(self) -> bytes:
        """What was printed since, at least a byte; empty when the program has let go of its terminal."""
        while True:
            try:
                return os.read(self._master, READ_BYTES)
            except BlockingIOError:
                await self._ready(writing=False)
            except OSError:  # EIO: nobody holds the other side any more
                return b""

    async def write(self, data: bytes) -> None:
        """Type it. TimedOut when the program does not take it; fine when it has ended."""
        view = memoryview(data)
        with contextlib.suppress(OSError):
            while view:
                try:
                    view = view[os.write(self._master, view) :]
                except BlockingIOError:
                    try:
                        async with asyncio.timeout(WRITE_TIMEOUT_S):
                            await self._ready(writing=True)
                    except TimeoutError:
                        raise TimedOut(f"cannot type: nothing was read for {WRITE_TIMEOUT_S:g} s") from None

    def resize(self, rows: int, columns: int) -> None:
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, _size(rows, columns))

    async def wait(self) -> int:
        """Its exit code; 128 + n for signal n."""
        code = await self._runner.wait()
        return code if code >= 0 else 128 - code

    async def close(self) -> None:
        """Killed, if it still runs, with all that it has started on this terminal.

        runc would wait for the last of them, since they hold the terminal open.
        """
        if self._runner.returncode is None:
            try:
                async with asyncio.timeout(END_WAIT_S):
                    await self._kill(self._runner.pid)
                    await self._runner.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    self._runner.kill()
                await self._runner.wait()
        os.close(self._master)
        shutil.rmtree(self._scratch, ignore_errors=True)

    async def _kill(self, runner: int) -> None:
        """Kill what runs inside; `runner` is the pid of its runner out here. runc says whom a moment after it began."""
        while True:
            with contextlib.suppress(OSError, ValueError):
                kill_session(int((self._scratch / "pid").read_text()))
                return
            await asyncio.sleep(PID_PAUSE_S)

    async def _ready(self, *, writing: bool) -> None:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
        add(self._master, ready.set)
        try:
            await ready.wait()
        finally:
            remove(self._master)


T = TypeVar("T", bound=PtyTerminal)


async def open_relay(argv: Sequence[str], rows: int, columns: int, scratch: Path, kind: type[T]) -> T:
    """Run `argv` on a new pty. `scratch` goes with it; `pid` in it is to say whom to kill. Unavailable."""
    master, slave = os.openpty()
    try:
        os.set_blocking(master, False)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, _size(rows, columns))
        own = ("setsid", "--ctty", *argv)
        runner = await asyncio.create_subprocess_exec(*own, stdin=slave, stdout=slave, stderr=slave)
    except OSError as failure:
        os.close(master)
        raise Unavailable(f"cannot run {argv[0]}: {failure.strerror}") from failure
    finally:
        os.close(slave)
    return kind(master, runner, scratch)


async def open_console(argv: Sequence[str], console: Path, scratch: Path) -> PtyTerminal:
    """Run `argv`, which sends the master end of its terminal to the socket `console`.

    ToolFailed: it could not. TimedOut, Unavailable.
    """
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    with socket.socket(socket.AF_UNIX) as listening:
        try:
            listening.setblocking(False)
            listening.bind(str(console))
            listening.listen(1)
            runner = await asyncio.create_subprocess_exec(*argv, stdin=null, stdout=null, stderr=pipe)
        except OSError as failure:
            raise Unavailable(f"cannot run {argv[0]}: {failure.strerror or failure}") from failure
        try:
            return PtyTerminal(await _master(listening, runner, argv), runner, scratch)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                runner.kill()
            await runner.wait()
            raise


async def _master(listening: socket.socket, runner: asyncio.subprocess.Process, argv: Sequence[str]) -> int:
    """The descriptor, or why there is none."""
    receiving, ending = asyncio.create_task(_receive(listening)), asyncio.create_task(runner.wait())
    try:
        await asyncio.wait({receiving, ending}, timeout=OPEN_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        if receiving.done():
            return receiving.result()
        if not ending.done():
            raise TimedOut(f"cannot open a terminal: {argv[0]} gave none within {OPEN_TIMEOUT_S:g} s")
        said = await runner.stderr.read() if runner.stderr is not None else b""
        raise ToolFailed(argv, ending.result(), said.decode(errors="replace"))
    finally:
        for task in (receiving, ending):
            task.cancel()
        await asyncio.gather(receiving, ending, return_exceptions=True)


async def _receive(listening: socket.socket) -> int:
    """The descriptor that somebody who connects sends (SCM_RIGHTS), set not to block."""
    loop = asyncio.get_running_loop()
    connection, _ = await loop.sock_accept(listening)
    with connection:
        ready = asyncio.Event()
        loop.add_reader(connection, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(connection)
        _, descriptors, _, _ = socket.recv_fds(connection, 4096, 1)
    if not descriptors:
        raise Unavailable("cannot open a terminal: the runtime sent none")
    os.set_blocking(descriptors[0], False)
    return descriptors[0]


def _size(rows: int, columns: int) -> bytes:
    return struct.pack("4H", rows, columns, 0, 0)
