"""mount(2), umount2(2), setns(2) and statfs(2) by ctypes: what the standard library does not offer.

All calls act on the mount namespace of the calling thread. Used by `engines/oci/`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path
from typing import Final

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_NOATIME: Final = 1024
MS_NODIRATIME: Final = 2048
MS_RELATIME: Final = 1 << 21
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2
AT_FDCWD: Final = -100
OPEN_TREE_CLONE: Final = 1
MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_SYS_OPEN_TREE: Final = 428
_SYS_MOVE_MOUNT: Final = 429
"""The same numbers on every architecture (Linux >= 5.2); Debian 12's libc has no functions for them."""
CLONE_FS: Final = 0x00000200
CLONE_NEWNS: Final = 0x00020000
CGROUP2_SUPER_MAGIC: Final = 0x63677270

_libc = ctypes.CDLL(None, use_errno=True)


def _fail(path: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), path)


def mount(source: str, target: Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2). OSError with the target as its file name."""
    arguments = (source.encode(), os.fsencode(target), kind.encode() or None, flags, options.encode() or None)
    if _libc.mount(arguments[0], arguments[1], arguments[2], ctypes.c_ulong(flags), arguments[4]) != 0:
        raise _fail(str(target))


def unmount(target: Path) -> None:
    """Detach whatever is mounted at `target`; fine if nothing is."""
    if _libc.umount2(os.fsencode(target), MNT_DETACH) != 0 and ctypes.get_errno() not in (errno.EINVAL, errno.ENOENT):
        raise _fail(str(target))


def mount_overlay(target: Path, layers: tuple[Path, ...], upper: Path, work: Path) -> None:
    """An overlay of `layers` (uppermost first) at `target`, written to `upper`. Paths must not hold `:` or `,`."""
    lower = ":".join(str(layer) for layer in layers)
    mount("overlay", target, "overlay", 0, f"lowerdir={lower},upperdir={upper},workdir={work}")


def enter_mount_namespace(path: Path) -> None:
    """Move the calling thread, and only it, into the mount namespace that is pinned at `path`."""
    if _libc.unshare(CLONE_FS) != 0:
        raise _fail("unshare")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, CLONE_NEWNS) != 0:
            raise _fail(str(path))
    finally:
        os.close(descriptor)


def clone_tree(path: Path) -> int:
    """A copy of what is at `path`, without what is mounted below it, attached nowhere: its descriptor (open_tree(2)).

    Held by the descriptor, it can be attached in another mount namespace than the one that it was taken from.
    """
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC
    descriptor = int(_libc.syscall(_SYS_OPEN_TREE, AT_FDCWD, os.fsencode(path), ctypes.c_uint(flags)))
    if descriptor < 0:
        raise _fail(str(path))
    return descriptor


def attach_tree(descriptor: int, target: Path) -> None:
    """Mount what `clone_tree` gave at `target` (move_mount(2)); works once."""
    arguments = (descriptor, b"", AT_FDCWD, os.fsencode(target), ctypes.c_uint(MOVE_MOUNT_F_EMPTY_PATH))
    if _libc.syscall(_SYS_MOVE_MOUNT, *arguments) != 0:
        raise _fail(str(target))


def is_cgroup2(path: Path) -> bool:
    """Whether a cgroup2 file system is mounted at `path` (statfs f_type)."""
    buffer = ctypes.create_string_buffer(256)
    if _libc.statfs(os.fsencode(path), buffer) != 0:
        return False
    return int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder) == CGROUP2_SUPER_MAGIC


_FLAGS: Final = {
    "ro": MS_RDONLY, "nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC, "noatime": MS_NOATIME,
    "nodiratime": MS_NODIRATIME, "relatime": MS_RELATIME,
}  # fmt: skip


def options_of(point: Path) -> tuple[int, tuple[str, ...]]:
    """(mount(2) flags, options of the file system) of what is mounted on top at `point`. OSError when nothing is."""
    found = None
    with open("/proc/thread-self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            mount_fields, _, system_fields = line.rstrip("\n").partition(" - ")
            fields = mount_fields.split()
            if fields[4].encode().decode("unicode_escape") == str(point):
                found = (fields[5], system_fields.split()[2])
    if found is None:
        raise OSError(errno.EINVAL, "nothing is mounted", str(point))
    flags = sum(_FLAGS.get(name, 0) for name in found[0].split(","))
    return flags, tuple(name for name in found[1].split(",") if name not in ("rw", "ro"))


def mounted_below(directory: Path) -> list[Path]:
    """Mount points at or below `directory` in the calling thread's namespace, deepest first."""
    found = []
    with open("/proc/thread-self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            point = Path(line.split()[4].encode().decode("unicode_escape"))
            if point == directory or directory in point.parents:
                found.append(point)
    return sorted(found, key=lambda point: len(point.parts), reverse=True)


def unmount_below(directory: Path) -> None:
    """Detach everything at or below `directory`."""
    for point in mounted_below(directory):
        unmount(point)
