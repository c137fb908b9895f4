"""News of containers that ended: inotify on the directory where conmon writes exit codes. No polling.

conmon writes `ID.XXXXXX` and renames it to `ID`, so a move into the directory is the event; it comes within about two
milliseconds of the death. A container whose conmon was killed leaves no file: `watch` waits for its pidfd.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from pathlib import Path
from typing import Final

from gateway.engines.base import ContainerExit
from gateway.host.pids import ProcessId
from gateway.lifecycle.queue import NewsQueue

IN_MOVED_TO: Final = 0x80
IN_NONBLOCK: Final = os.O_NONBLOCK
IN_CLOEXEC: Final = os.O_CLOEXEC
_EVENT: Final = struct.Struct("iIII")

_libc = ctypes.CDLL(None, use_errno=True)


class Exits:
    """Fills `news`; lives on one event loop from `open()` to `close()`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._inotify = -1
        self._pidfds: dict[str, int] = {}
        self.news: NewsQueue[ContainerExit] = NewsQueue(1024)

    def open(self) -> None:
        """Start watching. OSError when the machine is out of inotify instances."""
        self._inotify = _libc.inotify_init1(IN_NONBLOCK | IN_CLOEXEC)
        if self._inotify < 0 or _libc.inotify_add_watch(self._inotify, os.fsencode(self._directory), IN_MOVED_TO) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(self._directory))
        asyncio.get_running_loop().add_reader(self._inotify, self._read)

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
        if self._inotify >= 0:
            asyncio.get_running_loop().remove_reader(self._inotify)
            os.close(self._inotify)
            self._inotify = -1
        self.news.close()

    def _gone(self, container: str) -> None:
        self.forget(container)
        self.news.put(ContainerExit(container))

    def _read(self) -> None:
        try:
            data = os.read(self._inotify, 65536)
        except BlockingIOError:
            return
        offset = 0
        while offset + _EVENT.size <= len(data):
            _, _, _, length = _EVENT.unpack_from(data, offset)
            name = data[offset + _EVENT.size : offset + _EVENT.size + length].rstrip(b"\0")
            self.news.put(ContainerExit(os.fsdecode(name)))
            offset += _EVENT.size + length
