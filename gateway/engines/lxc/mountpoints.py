"""Makes mount points in a root file system that is data from outside: no link in it leads out of it.

What is there is read once and must not change meanwhile: no process of the container runs yet.
"""

from __future__ import annotations

import collections
import os
import stat
from pathlib import Path
from typing import Final

from gateway.errors import InvalidInput

MAX_LINKS: Final = 40
"""As the kernel's own limit (path_resolution(7))."""


def make(root: Path, target: str, *, directory: bool) -> str:
    """The place of `target` below `root`, relative and free of links, made where it is missing.

    InvalidInput: something on the way is neither a directory nor a link to one.
    """
    found = _resolve(root, target, create=True, directory=directory)
    assert found is not None, "what is missing was made"
    return found


def find(root: Path, target: str) -> str | None:
    """The place of `target` below `root` as a process inside sees it; None when there is nothing."""
    return _resolve(root, target, create=False, directory=False)


def _resolve(root: Path, target: str, *, create: bool, directory: bool) -> str | None:
    ahead = collections.deque(target.split("/"))
    behind: list[str] = []
    links = 0
    while ahead:
        part = ahead.popleft()
        if part in ("", "."):
            continue
        if part == "..":
            del behind[-1:]
            continue
        path = root.joinpath(*behind, part)
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            if not create:
                return None
            mode = _make(path, directory or any(name not in ("", ".") for name in ahead))
        if stat.S_ISLNK(mode):
            links += 1
            if links > MAX_LINKS:
                raise InvalidInput(f"cannot use {target} of the image: too many links")
            link = os.readlink(path)
            if link.startswith("/"):
                behind.clear()
            ahead.extendleft(reversed(link.split("/")))
            continue
        if ahead and not stat.S_ISDIR(mode):
            raise InvalidInput(f"cannot use {target} of the image: {'/'.join([*behind, part])} is no directory")
        behind.append(part)
    return "/".join(behind)


def _make(path: Path, directory: bool) -> int:
    if directory:
        path.mkdir(mode=0o755)
        return stat.S_IFDIR
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
    return stat.S_IFREG
