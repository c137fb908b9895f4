"""Leaks fail tests: what a test started must be gone when it ends.

Counted before and after every test: threads, file descriptors, child processes; and, for the system and conformance
tests, mounts, cgroups and pinned namespaces of ours. A short grace lets the kernel finish what was already ended.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

GRACE_S = 3.0


def _descriptors() -> set[str]:
    """Open descriptors by what they point to; anonymous ones of the interpreter's own are left out."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
    return {entry for entry in found if "/proc/" not in entry}


def _children() -> set[str]:
    """Processes whose parent is this one, zombies included."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            for pid in (task / "children").read_text().split():
                with contextlib.suppress(OSError):
                    found.add(f"{pid} {Path(f'/proc/{pid}/comm').read_text().strip()}")
    return found


def _threads() -> set[str]:
    return {f"{thread.name} {thread.ident}" for thread in threading.enumerate()}


def _mounts() -> set[str]:
    return {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


def _cgroups() -> set[str]:
    """cgroups below a `fieldgate` one, in every hierarchy."""
    found = set()
    for hierarchy in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/")):
        for group in hierarchy.glob("fieldgate*"):
            with contextlib.suppress(OSError):  # it may go while we look
                found.update(str(path) for path in group.rglob("*") if path.is_dir())
    return found


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs around every test. Mark a test `leaks("why")` when it must keep something beyond its end."""
    probes = {"threads": _threads, "descriptors": _descriptors, "children": _children}
    if {"system", "conformance"} & set(request.path.parts):
        probes |= {"mounts": _mounts, "cgroups": _cgroups}
    before = {name: probe() for name, probe in probes.items()}
    yield
    if request.node.get_closest_marker("leaks"):
        return
    deadline = time.monotonic() + GRACE_S
    while True:
        left = {name: sorted(probe() - before[name]) for name, probe in probes.items()}
        left = {name: items for name, items in left.items() if items}
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    assert not left, f"the test left behind: {left}"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "leaks(why): the test keeps something beyond its end, for the reason given")
