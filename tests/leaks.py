"""What tests may leave behind, counted: only what this process and its descendants made, so that nothing else that runs
on the machine is taken for a leak. Mounts and cgroups cannot be told apart by who made them: they are counted for the
tests that make some. Used by `conftest.py`.

This process becomes the one that orphans are handed to (prctl(2), PR_SET_CHILD_SUBREAPER): a daemon that forked away
from a test is its child then, and seen as one. Orphans that have ended are waited for at once, as init does: the first
process of a pid namespace cannot end before every other one in it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import subprocess
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PR_SET_CHILD_SUBREAPER = 36
REAP_S = 0.05

Probe = Callable[[], set[str]]

_spawned: weakref.WeakSet[subprocess.Popen[Any]] = weakref.WeakSet()
_abandoned: set[str] = set()


def install() -> None:
    """Once per process, before the first test."""
    if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError("cannot become the parent of orphans")
    _note_abandoned_tasks()
    _note_spawned()
    threading.Thread(target=_reap_orphans, name="reaper of orphans", daemon=True).start()


def _reap_orphans() -> None:
    """An orphan is a zombie that no Popen here waits for; looked at twice, since a Popen may be just about to begin."""
    before: set[int] = set()
    while True:
        own = {process.pid for process in list(_spawned) if getattr(process, "returncode", 0) is None}
        ended = {pid for pid, state, _ in _children() if state == "Z"} - own
        for pid in ended & before:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        before = ended
        time.sleep(REAP_S)


def _children() -> list[tuple[int, str, str]]:
    """(pid, state, start) of every child of this process."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            for pid in map(int, (task / "children").read_text().split()):
                with contextlib.suppress(OSError):
                    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                    found.append((pid, fields[0], fields[19]))
    return found


def _note_abandoned_tasks() -> None:
    """asyncio.run() cancels what its main task has left running, and says nothing."""
    runners: Any = asyncio.runners
    cancel_all = runners._cancel_all_tasks

    def noting(loop: asyncio.AbstractEventLoop) -> None:
        _abandoned.update(f"{task.get_name()} {task.get_coro()}" for task in asyncio.all_tasks(loop))
        cancel_all(loop)

    runners._cancel_all_tasks = noting


def _note_spawned() -> None:
    """Which children are our own: their exit status is for whoever started them."""
    begin = subprocess.Popen.__init__

    def noting(self: subprocess.Popen[Any], *arguments: Any, **options: Any) -> None:
        _spawned.add(self)
        begin(self, *arguments, **options)

    subprocess.Popen.__init__ = noting  # type: ignore[method-assign,assignment]


def tasks() -> set[str]:
    """Tasks that were running when the main task of an event loop had ended."""
    return set(_abandoned)


def threads() -> set[str]:
    return {f"{thread.name} {thread.ident}" for thread in threading.enumerate()}


def descriptors() -> set[str]:
    """Open descriptors by what they point to; anonymous ones of the interpreter's own are left out."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
    return {entry for entry in found if "/proc/" not in entry}


def processes() -> set[str]:
    """`PID START` of children, and of orphans of children; zombies, too, until somebody has waited for them."""
    return {f"{pid} {start}" for pid, _, start in _children() if not _lingers(pid)}


def _lingers(pid: int) -> bool:
    """podman lets the monitor of an exec live on for five minutes; `site/daemons.py` ends it with its service."""
    with contextlib.suppress(OSError):
        return b"--exit-delay" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def command_line(process: str) -> str:
    """One of `processes()` in words: what it runs may change, who it is does not."""
    pid = process.split()[0]
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        return f"{pid} {words or Path(f'/proc/{pid}/comm').read_text().strip()}"
    return f"{pid} (gone)"


def namespaces() -> set[str]:
    """That a thread of this process is in. Others are seen with the process that is in them, pinned ones as mounts."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found.update(os.readlink(link) for link in (task / "ns").iterdir())
    return found


def mounts() -> set[str]:
    """By mount point; with what is mounted where it is a pinned namespace."""
    found = set()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        kind = fields[fields.index("-") + 1]
        if fields[4].startswith("/var/tmp/fg-podman-") and fields[4].endswith("/root/overlay"):
            continue  # its store, which podman mounts whenever it likes; `site/daemons.py` unmounts it at the end
        found.add(f"{fields[4]} {fields[3]}" if kind == "nsfs" else fields[4])
    return found


def cgroups() -> set[str]:
    """Below a `fieldgate` one, in every hierarchy."""
    found = set()
    for hierarchy in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/")):
        for group in hierarchy.glob("fieldgate*"):
            with contextlib.suppress(OSError):  # it may go while we look
                found.update(str(path) for path in group.rglob("*") if path.is_dir())
    return found


PROBES: dict[str, Probe] = {
    "tasks": tasks, "threads": threads, "descriptors": descriptors, "processes": processes, "namespaces": namespaces,
}  # fmt: skip
SYSTEM_PROBES: dict[str, Probe] = {**PROBES, "mounts": mounts, "cgroups": cgroups}
