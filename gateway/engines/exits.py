"""News of containers that ended: inotify on the directory where conmon writes exit codes. No polling.

conmon writes `ID.XXXXXX` and renames it to `ID`, so a move into the directory is the event; it comes within about two
milliseconds of the death. A container whose conmon was killed leaves no file: `watch` waits for its pidfd.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from gateway.engines.base import ContainerExit
from gateway.host.inotify import Inotify
from gateway.host.pids import ProcessId
from gateway.lifecycle.queue import NewsQueue


class Exits:
    """Fills `news`; lives on one event loop from `open()` to `close()`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._inotify = Inotify(lambda _, name: self.news.put(ContainerExit(name)))
        self._pidfds: dict[str, int] = {}
        self.news: NewsQueue[ContainerExit] = NewsQueue(1024)

    def open(self) -> None:
        """Start watching. OSError when the machine is out of inotify instances."""
        self._inotify.open()
        self._inotify.watch(self._directory)

    def watch(self, container: str, process: ProcessId) -> None:
        """Also wait for the process itself, in case that its conmon dies first."""
        if container in self._pidfds:
            return
        try:
            descriptor = os.pidfd_open(process.pid)
        except OSError:
            self.news.put(ContainerExit(container))
            return
        self._pidfds[container] = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._gone, container)

    def forget(self, container: str) -> None:
        """Stop waiting for it; fine if nobody was."""
        descriptor = self._pidfds.pop(container, -1)
        if descriptor >= 0:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)

    def close(self) -> None:
        for container in list(self._pidfds):
            self.forget(container)
        self._inotify.close()
        self.news.close()

    def _gone(self, container: str) -> None:
        self.forget(container)
        self.news.put(ContainerExit(container))
