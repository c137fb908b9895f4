"""Where the engine's mounts happen: the agent's own mount namespace, or a private one on a hybrid machine.

crun refuses hybrid cgroups. A private mount namespace without the unified hierarchy looks like pure v1 to it; it is
pinned as a file, so that it outlives the agent, and entered by `nsenter` for programs and by one thread for mounts.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from gateway.errors import TimedOut, ToolFailed, Unavailable
from gateway.host import mounts

T = TypeVar("T")

UNIFIED = "/sys/fs/cgroup/unified"
READY_TIMEOUT_S = 10.0


class MountNamespace:
    """One per engine. `pinned` is False where no namespace of its own is needed."""

    def __init__(self, directory: Path, *, private: bool) -> None:
        self._directory = directory
        self._pin = directory / "mnt"
        self.private = private
        self._thread: ThreadPoolExecutor | None = None

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a program's arguments so that it runs in this namespace."""
        return ("nsenter", f"--mount={self._pin}", "--") if self.private else ()

    def path_to(self, mount: Path) -> str:
        """How a file that the agent has mounted is found from this namespace, which may not have that mount."""
        return f"/proc/{os.getpid()}/root{mount}" if self.private else str(mount)

    @property
    def executor(self) -> Executor | None:
        """The thread that lives in this namespace: a program that it starts does, too, and nsenter's time is saved.

        None where the agent itself is in the right one.
        """
        return self._thread if self.private else None

    async def prepare(self) -> None:
        """Make it, or find the one that an earlier agent pinned."""
        if self.private and not self._is_pinned():
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A namespace can only be pinned on a mount that is private itself.
            mounts.mount(str(self._directory), self._directory, flags=mounts.MS_BIND)
            mounts.mount("", self._directory, flags=mounts.MS_PRIVATE)
            self._pin.touch()
            try:
                await self._pin_new()
            except BaseException:
                mounts.unmount(self._directory)
                raise
        enter = (lambda: mounts.enter_mount_namespace(self._pin)) if self.private else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mounts", initializer=enter)

    async def call(self, function: Callable[[], T]) -> T:
        """Run a short blocking function on the thread that lives in this namespace."""
        assert self._thread is not None, "prepare() comes first"
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def close(self) -> None:
        """End the thread; the namespace stays pinned."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    def teardown(self) -> None:
        """Unpin: with its last process the namespace and all its mounts are gone."""
        self.close()
        if self.private:
            mounts.unmount(self._pin)
            mounts.unmount(self._directory)
            self._pin.unlink(missing_ok=True)

    async def _pin_new(self) -> None:
        """Make a namespace and pin it.

        The kernel refuses to mount a namespace into one with a higher number (EINVAL), lest they keep each other
        alive. Since Linux 6.18 each CPU numbers in a range of its own, so that a new namespace may have a lower number
        than ours. On the CPU that made ours it has a higher one: all are tried.
        """
        everywhere = [("taskset", "-c", str(cpu)) for cpu in sorted(os.sched_getaffinity(0))]
        for where in ((), *everywhere):
            try:
                await self._pin_one(where)
            except OSError as failure:
                if failure.errno != errno.EINVAL or where == everywhere[-1]:
                    raise Unavailable(f"cannot pin a mount namespace: {failure}") from failure
            else:
                return

    async def _pin_one(self, where: tuple[str, ...]) -> None:
        """Pin the namespace of a process that waits in it."""
        script = f"umount {UNIFIED} && echo ready && read _"
        argv = (*where, "unshare", "--mount", "--propagation", "slave", "sh", "-c", script)
        pipe = asyncio.subprocess.PIPE
        holder = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=pipe)
        assert holder.stdout is not None
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                ready = await holder.stdout.readline()
            if ready == b"ready\n":
                mounts.mount(f"/proc/{holder.pid}/ns/mnt", self._pin, flags=mounts.MS_BIND)
        except TimeoutError:
            raise TimedOut(f"cannot make a mount namespace: no answer after {READY_TIMEOUT_S:g} s") from None
        finally:
            _, said = await holder.communicate(b"")  # its stdin ends, and so does it
        if ready != b"ready\n":
            raise ToolFailed(argv, holder.returncode or 0, said.decode(errors="replace"))

    def _is_pinned(self) -> bool:
        return self._pin in mounts.mounted_below(self._directory)
