"""cgroups v1, hybrid and v2 behind a few functions: which mode, make a parent, move a process, read OOM kills, remove.

A group is named by its path below the root of a hierarchy (`fieldgate/app.service.1`); v1 has one per controller.
Limits of a container are written by its runtime, those of all together here. Used by `engines/oci/`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from enum import StrEnum
from pathlib import Path
from typing import Final

from gateway.host import mounts
from gateway.host.mounts import is_cgroup2

ROOT: Final = Path("/sys/fs/cgroup")
UNIFIED: Final = ROOT / "unified"
CONTROLLERS: Final = ("cpu", "memory", "pids", "io")
FAVOUR_CHANGES: Final = "favordynmods"
FAVOUR_CHANGES_SINCE: Final = (6, 0)
"""Linux version."""


CPU_PERIOD_US: Final = 10_000
"""Short: what is bounded works in many small portions, and others get their turn in between."""


class Mode(StrEnum):
    V1 = "v1"
    HYBRID = "hybrid"
    """v1 controllers, and a cgroup2 hierarchy beside them at /sys/fs/cgroup/unified."""
    V2 = "v2"


def mode() -> Mode:
    if is_cgroup2(ROOT):
        return Mode.V2
    return Mode.HYBRID if is_cgroup2(ROOT / "unified") else Mode.V1


def _hierarchies() -> list[Path]:
    """The roots of all hierarchies, links left out (`cpu,cpuacct` may be linked as `cpu`)."""
    if mode() is Mode.V2:
        return [ROOT]
    found = [entry for entry in sorted(ROOT.iterdir()) if entry.is_dir() and not entry.is_symlink()]
    return [entry for entry in found if entry != UNIFIED or is_cgroup2(entry)]


def make_parent(name: str) -> None:
    """A group that holds groups of ours; on v2 with its controllers handed down before the first child.

    OSError when this process may not (no delegation).
    """
    if mode() is not Mode.V2:
        return  # the runtime makes v1 groups itself, and a v1 parent needs no preparation
    parent = ROOT / name
    parent.mkdir(exist_ok=True)
    available = (ROOT / "cgroup.controllers").read_text().split()
    wanted = " ".join(f"+{controller}" for controller in CONTROLLERS if controller in available)
    (ROOT / "cgroup.subtree_control").write_text(wanted)
    (parent / "cgroup.subtree_control").write_text(wanted)


def limit(
    name: str, *, memory_bytes: int | None = None, processes: int | None = None, cpus: float | None = None
) -> None:
    """Bound what the group and all below it may use together; made where needed. OSError when it may not."""
    wanted = {
        ("memory", "memory.limit_in_bytes", "memory.max"): memory_bytes,
        ("pids", "pids.max", "pids.max"): processes,
    }
    for (controller, v1_file, v2_file), value in wanted.items():
        if value is not None:
            _write(controller, name, v1_file, v2_file, str(value))
    if cpus is not None:
        quota = int(cpus * CPU_PERIOD_US)
        if mode() is Mode.V2:
            _write("cpu", name, "", "cpu.max", f"{quota} {CPU_PERIOD_US}")
        else:
            _write("cpu", name, "cpu.cfs_period_us", "", str(CPU_PERIOD_US))
            _write("cpu", name, "cpu.cfs_quota_us", "", str(quota))


def _write(controller: str, name: str, v1_file: str, v2_file: str, value: str) -> None:
    root, file = (ROOT, v2_file) if mode() is Mode.V2 else (ROOT / controller, v1_file)
    (root / name).mkdir(parents=True, exist_ok=True)
    (root / name / file).write_text(value)


def favour_changes() -> bool:
    """Have processes enter groups without waiting for an RCU grace period, which is 10 ms and more of every start.

    Sets `favordynmods` on the cgroup2 mount, for the whole machine until its next boot; every fork and exit gets a
    little dearer (docs/performance.md). False: this machine has no cgroup2, its Linux is older than 6.0, or it does not
    let us (a container). OSError.
    """
    root = {Mode.V2: ROOT, Mode.HYBRID: ROOT / "unified"}.get(mode())
    version = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    if root is None or version < FAVOUR_CHANGES_SINCE:
        return False
    flags, options = mounts.options_of(root)
    if FAVOUR_CHANGES not in options:
        # All options again: what a remount does not name is taken away.
        mounts.mount("none", root, flags=mounts.MS_REMOUNT | flags, options=",".join((*options, FAVOUR_CHANGES)))
    return FAVOUR_CHANGES in mounts.options_of(root)[1]


def move(pid: int, name: str) -> None:
    """Put a process into the group `name` of every hierarchy, making it where needed. OSError from the last failure."""
    failure: OSError | None = None
    for hierarchy in _hierarchies():
        group = hierarchy / name
        try:
            group.mkdir(parents=True, exist_ok=True)
            if (group / "cpuset.cpus").exists() and not (group / "cpuset.cpus").read_text().strip():
                continue  # a v1 cpuset takes no process before it was given processors and memory nodes
            (group / "cgroup.procs").write_text(str(pid))
        except OSError as refused:
            failure = refused
    if failure is not None:
        raise failure


def oom_kills(name: str) -> int:
    """How many processes of the group the kernel has killed for want of memory; 0 when the group is gone."""
    for path in (ROOT / "memory" / name / "memory.oom_control", ROOT / name / "memory.events"):
        with contextlib.suppress(OSError):
            for line in path.read_text().splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value)
    return 0


def group_of(pid: int) -> str:
    """The group that holds the process (on v1 the one of the memory hierarchy); empty when there is no such process."""
    try:
        lines = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    except OSError:
        return ""
    wanted = "" if mode() is Mode.V2 else "memory"
    return next((path.lstrip("/") for _, controllers, path in lines if wanted in controllers.split(",")), "")


def processes(name: str) -> set[int]:
    """All processes in the group and below it."""
    found: set[int] = set()
    for hierarchy in _hierarchies():
        for file in (hierarchy / name).rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                found.update(int(pid) for pid in file.read_text().split())
    return found


def kill(name: str, timeout_s: float = 2.0) -> None:
    """SIGKILL to all processes of the group, until there are none; fine if it is gone."""
    deadline = time.monotonic() + timeout_s
    while (left := processes(name)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def remove_stray(name: str) -> None:
    """What crun makes of the group where the unified hierarchy is not mounted: a plain directory that nobody removes.

    Acts on the mount namespace of the calling thread: it must be the one that crun ran in.
    """
    if not is_cgroup2(UNIFIED):
        shutil.rmtree(UNIFIED / name, ignore_errors=True)


def remove(name: str, timeout_s: float = 2.0) -> None:
    """Remove the group and what is below it; waits for the last process to leave. Fine if it is gone."""
    deadline = time.monotonic() + timeout_s
    for hierarchy in _hierarchies():
        top = hierarchy / name
        if not top.is_dir():
            continue
        groups = sorted((path for path in top.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts))
        for group in [*groups, top]:
            while True:
                try:
                    os.rmdir(group)
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)
                else:
                    break
