"""The OCI runtime's command line (crun or runc): start, kill, delete, state, exec."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.engines.base import ExecResult
from gateway.engines.oci.namespace import MountNamespace
from gateway.engines.oci.terminal import PtyTerminal, open_console, open_relay
from gateway.errors import NotSupported, TimedOut, ToolFailed
from gateway.host.process import Finished, run_tool

log = logging.getLogger(__name__)

CALL_TIMEOUT_S = 20.0
VERSION_TIMEOUT_S = 10.0
MAX_EXEC_OUTPUT_BYTES = 64 << 10


def choose(runtimes: Sequence[str]) -> str:
    """The first of `runtimes` that is installed and runs on this board, as an absolute path. NotSupported."""
    search = os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin"
    for name in runtimes:
        if path := shutil.which(name, path=search):
            if fault := _fault(path):
                log.warning("runtime does not run: the next one is tried runtime=%s cause=%s", path, fault)
            else:
                return path
    raise NotSupported(
        f"cannot run containers: none of {', '.join(runtimes)} is installed and runs", hint="apt install crun"
    )


def _fault(path: str) -> str:
    """Why it does not even tell its version: a library that is missing, another architecture; empty when it does."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, timeout=VERSION_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as failure:
        return str(failure)
    return f"exit status {done.returncode}: {done.stderr[-200:].decode(errors='replace')}" if done.returncode else ""


class Runtime:
    """One runtime with its own state directory, run in `namespace`."""

    def __init__(self, path: str, root: Path, namespace: MountNamespace) -> None:
        self.path = path
        self.root = root
        self._namespace = namespace

    async def start(self, container: str) -> None:
        await self._call("start", container)

    async def kill(self, container: str, name: str) -> None:
        """ToolFailed when it is not running any more."""
        await self._call("kill", container, name)

    async def delete(self, container: str) -> None:
        """With its processes, if there are any; fine when the runtime does not know it."""
        done = await self._call("delete", "--force", container, check=False)
        if done.exit_code != 0 and b"does not exist" not in done.stderr and b"No such file" not in done.stderr:
            raise ToolFailed((self.path, "delete", container), done.exit_code, done.stderr.decode(errors="replace"))

    async def is_running(self, container: str) -> bool:
        """Whether its main process was let loose (the runtime's word, for an agent that died in between)."""
        done = await self._call("state", container, check=False)
        with contextlib.suppress(ValueError, AttributeError):
            return bool(json.loads(done.stdout).get("status") == "running")
        return False

    async def exec(self, container: str, process: Mapping[str, Any], timeout_s: float) -> ExecResult:
        """Run `process` (OCI runtime specification) inside.

        On TimedOut it is killed there, too, not only its runner out here.
        """
        with tempfile.TemporaryDirectory(prefix="exec-", dir=self.root.parent) as scratch:
            pidfile, description = Path(scratch) / "pid", Path(scratch) / "process.json"
            description.write_text(json.dumps(process))
            options = ("--pid-file", str(pidfile), "--process", str(description))
            command = (self.path, "--root", str(self.root), "exec", *options, container)
            call = run_tool(
                command,
                timeout_s=timeout_s + CALL_TIMEOUT_S,
                check=False,
                max_output_bytes=MAX_EXEC_OUTPUT_BYTES,
                executor=self._namespace.executor,
                merged=True,  # with crun in the order in which both were written
            )
            running = asyncio.create_task(call)
            try:
                await asyncio.wait({running}, timeout=timeout_s)
            finally:
                if cut := not running.done():
                    with contextlib.suppress(OSError, ValueError):
                        os.kill(int(pidfile.read_text()), signal.SIGKILL)
            # Killed inside, it closes its outputs, and its runner out here ends by itself.
            done = await running
        if cut:
            raise TimedOut(f"cannot finish {process['args'][0]} in {container}: no end after {timeout_s:g} s")
        return ExecResult(done.exit_code, done.stdout)

    async def open_terminal(self, container: str, process: Mapping[str, Any], rows: int, columns: int) -> PtyTerminal:
        """Run `process` (OCI runtime specification, with a terminal) inside."""
        scratch = Path(tempfile.mkdtemp(prefix="terminal-", dir=self.root.parent))
        try:
            description, pidfile = scratch / "process.json", scratch / "pid"
            size = {"height": rows, "width": columns}
            description.write_text(json.dumps({**process, "consoleSize": size}))
            options = ["--tty", "--pid-file", str(pidfile), "--process", str(description)]
            if consoles := Path(self.path).name == "crun":
                options += ["--console-socket", str(scratch / "console")]
            argv = (*self._namespace.prefix, self.path, "--root", str(self.root), "exec", *options, container)
            if consoles:
                return await open_console(argv, scratch / "console", scratch)
            return await open_relay(argv, rows, columns, scratch, PtyTerminal)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise

    async def _call(self, verb: str, *arguments: str, check: bool = True) -> Finished:
        argv = (self.path, "--root", str(self.root), verb, *arguments)
        done = await run_tool(argv, timeout_s=CALL_TIMEOUT_S, check=False, executor=self._namespace.executor)
        if check and done.exit_code != 0:
            raise ToolFailed(argv, done.exit_code, done.stderr.decode(errors="replace"))
        return done
