"""Whether a container died for want of memory, by the kernel's own count: the daemon's monitor may miss it.

The count goes with the container's cgroup, which the daemon removes soon after the end. So it is read the moment its
main process dies. For one that dies before it is watched, or while no agent runs, there is the kernel's log.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

from gateway.host import cgroup

KERNEL_LOG: Final = "/dev/kmsg"
_RECORD_BYTES: Final = 8192
"""Linux, CONSOLE_EXT_LOG_MAX: no record of the log is longer."""


def in_kernel_log(group: str) -> bool:
    """Whether the kernel says that it killed in a group of whose path this is a part. False when nobody may know.

    It says nothing of most when there are very many. Source: mm/oom_kill.c, `dump_oom_summary`. Blocks for some ms.
    """
    try:
        log = os.open(KERNEL_LOG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        while record := os.read(log, _RECORD_BYTES):
            if any(b"oom_memcg=" in line and group.encode() in line for line in record.splitlines()):
                return True
    except OSError:  # BlockingIOError: that was all; EPIPE: it was overtaken
        return False
    finally:
        os.close(log)
    return False


class OomWatch:
    """Lives on one event loop from the first `watch()` to `close()`."""

    def __init__(self) -> None:
        self._pidfds: dict[str, int] = {}
        self._seen: set[str] = set()

    def watch(self, container: str, pid: int) -> None:
        """Nothing new if it is watched already; fine if the process has gone."""
        if container in self._pidfds or pid <= 0:
            return
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            return
        if not (group := cgroup.group_of(pid)):
            os.close(descriptor)
            return
        self._pidfds[container] = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._gone, container, group)

    def saw(self, container: str) -> bool:
        return container in self._seen

    def forget(self, container: str) -> None:
        self._unwatch(container)
        self._seen.discard(container)

    def close(self) -> None:
        for container in list(self._pidfds):
            self._unwatch(container)

    def _gone(self, container: str, group: str) -> None:
        if cgroup.oom_kills(group) > 0:
            self._seen.add(container)
        self._unwatch(container)

    def _unwatch(self, container: str) -> None:
        descriptor = self._pidfds.pop(container, -1)
        if descriptor >= 0:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)
