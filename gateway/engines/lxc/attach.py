"""Runs programs inside a container by `lxc-attach`: to their end, or on a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gateway.engines.base import ExecResult
from gateway.engines.oci.terminal import PtyTerminal, open_relay
from gateway.errors import TimedOut
from gateway.host.process import run_tool

TAKE_TIMEOUT_S: Final = 20.0
EXEC_SLACK_S: Final = 20.0
POLL_S: Final = 0.002
MAX_EXEC_OUTPUT_BYTES: Final = 64 << 10


def command_line(directory: Path, process: Mapping[str, Any], argv: Sequence[str], *options: str) -> tuple[str, ...]:
    """How `argv` is run inside as the main process is (`process`: its form is that of the OCI runtime specification).

    `lxc-attach` knows neither a directory to start in nor further groups: the directory is entered by the image's own
    shell when it has one.
    """
    command = tuple(argv)
    if process["cwd"] != "/" and process["shell"]:
        command = ("/bin/sh", "-c", 'cd "$0" && exec "$@"', process["cwd"], *command)
    user = process["user"]
    return (
        "lxc-attach", "-n", directory.name, "-P", str(directory.parent), "-f", str(directory / "attach.conf"),
        "-o", "none", "--clear-env", *options, "-u", str(user["uid"]), "-g", str(user["gid"]), "--", *command,
    )  # fmt: skip


async def execute(directory: Path, process: Mapping[str, Any], argv: Sequence[str], timeout_s: float) -> ExecResult:
    """Run `argv` inside to its end. On TimedOut it is killed there, too."""
    with tempfile.TemporaryDirectory(prefix="exec-", dir=directory) as scratch:
        pidfile = Path(scratch) / "pid"
        script = 'echo $$ >"$0" && cd / && exec "$@" 2>&1'
        call = run_tool(
            ("sh", "-c", script, str(pidfile), *command_line(directory, process, argv)),
            timeout_s=timeout_s + EXEC_SLACK_S,
            check=False,
            max_output_bytes=MAX_EXEC_OUTPUT_BYTES,
        )
        running = asyncio.create_task(call)
        try:
            await asyncio.wait({running}, timeout=timeout_s)
        finally:
            if cut := not running.done():
                with contextlib.suppress(OSError, ValueError):
                    _kill_children(int(pidfile.read_text()))
        done = await running  # what it runs inside was killed: it ends by itself
    if cut:
        raise TimedOut(f"cannot finish {argv[0]} in {directory.name}: no end after {timeout_s:g} s")
    return ExecResult(done.exit_code, done.stdout)


class AttachTerminal(PtyTerminal):
    """`lxc-attach` on a pty of ours: it makes one inside, and hands on what is typed and the window's size."""

    async def _kill(self, runner: int) -> None:
        _kill_children(runner)

    async def taken(self) -> None:
        """Wait until `lxc-attach` has taken our pty, or has ended: it drops what was typed before that. TimedOut."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TAKE_TIMEOUT_S):
                while self._runner.returncode is None:
                    mode = termios.tcgetattr(self._master)
                    if not mode[3] & termios.ICANON:
                        mode[1] &= ~termios.OPOST  # the pty inside makes carriage returns already
                        termios.tcsetattr(self._master, termios.TCSANOW, mode)
                        return
                    await asyncio.sleep(POLL_S)
                return
        raise TimedOut(f"cannot open a terminal: lxc-attach has not taken it within {TAKE_TIMEOUT_S:g} s")


async def open_terminal(
    directory: Path, process: Mapping[str, Any], argv: Sequence[str], rows: int, columns: int, term: str
) -> PtyTerminal:
    scratch = Path(tempfile.mkdtemp(prefix="terminal-", dir=directory))
    try:
        command = command_line(directory, process, argv, "-v", f"TERM={term}")
        # From / it starts in / where the directory is not entered otherwise.
        terminal = await open_relay(("env", "-C", "/", *command), rows, columns, scratch, AttachTerminal)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    try:
        await terminal.taken()
    except BaseException:
        await terminal.close()
        raise
    return terminal


def _kill_children(pid: int) -> None:
    with contextlib.suppress(OSError, ValueError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
