"""Where the engine's mounts happen: the agent's own mount namespace, or a private one on a hybrid machine.

crun refuses hybrid cgroups. A private mount namespace without the unified hierarchy looks like pure v1 to it; it is
pinned as a file, so that it outlives the agent, and entered by `nsenter` for programs and by one thread for mounts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from gateway.host import mounts
from gateway.host.process import run_tool

T = TypeVar("T")

UNIFIED = "/sys/fs/cgroup/unified"


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

    async def prepare(self) -> None:
        """Make it, or find the one that an earlier agent pinned."""
        if self.private and not self._is_pinned():
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A namespace can only be pinned on a mount that is private itself.
            mounts.mount(str(self._directory), self._directory, flags=mounts.MS_BIND)
            mounts.mount("", self._directory, flags=mounts.MS_PRIVATE)
            self._pin.touch()
            await run_tool(
                ["unshare", f"--mount={self._pin}", "--propagation", "slave", "umount", UNIFIED], timeout_s=10
            )
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

    def _is_pinned(self) -> bool:
        return self._pin in mounts.mounted_below(self._directory)
