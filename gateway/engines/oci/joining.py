"""What a container takes from the one that it lives in: namespaces, root file system, names. And its package.

The host container may be of any engine: all that is needed of it is the pid of its main process. Its root is copied as
a mount (open_tree(2)), so both write to the same file system, and what is mounted in one is not seen by the other. The
package is mounted at `/opt/apps/<app>/<service>` for its own service alone. Used by `guests.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.engines.base import Mount
from gateway.errors import InvalidInput, NotPermitted, NotSupported, Unavailable
from gateway.host import mounts

PACKAGES: Final = "/opt/apps"
FIRST_UID: Final = 20_000
UIDS: Final = 40_000
"""Between the users of distributions (below 1000, 60000 and above) and their people (from 1000 on)."""
_SHARED: Final = ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/dev/shm")
"""Mounts of the host that belong to the namespaces that are shared: names with the network, shared memory with IPC."""
_NAMESPACES: Final = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts"}
_KEPT_FLAGS: Final = os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC
"""The same bits as MS_NOSUID, MS_NODEV, MS_NOEXEC."""


@dataclass(frozen=True, slots=True)
class Joined:
    """What `bundle.config` has to say differently for a container that lives in another one."""

    namespaces: dict[str, str]
    """OCI name -> path."""
    package: str
    mounts: tuple[Mount, ...]
    read_only: bool
    """The host's root is: so is this one's."""


def package_path(app: str, service: str) -> str:
    return f"{PACKAGES}/{app}/{service}"


def own_uid(app: str, service: str) -> int:
    """The uid of a service that names none: the same for all its versions, so that its volumes stay its own."""
    return FIRST_UID + int.from_bytes(hashlib.sha256(f"{app}.{service}".encode()).digest()[:8]) % UIDS


def namespaces_of(pid: int) -> dict[str, str]:
    """Paths of the namespaces to join. OSError: it is gone; NotSupported: its users are not the machine's."""
    if os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user"):
        raise NotSupported("cannot join a container that has a user namespace of its own")
    return {kind: f"/proc/{pid}/ns/{name}" for kind, name in _NAMESPACES.items()}


def check_uid(container: str, uid: int, others: dict[str, int]) -> None:
    """NotPermitted for root and for a uid of `others` (container -> uid): one could act as the other through /proc."""
    if uid == 0:
        raise NotPermitted(
            f"cannot create {container}: in another container it cannot be root: set user, or leave it out"
        )
    for other, taken in others.items():
        if taken == uid:
            raise NotPermitted(f"cannot create {container}: uid {uid} is that of {other} in there: set another user")


def uid_of(pid: int) -> int:
    """Of a running process. Unavailable when it has gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("Uid:"):
                return int(line.split()[2])
    except OSError as failure:
        raise Unavailable(f"cannot read the user of process {pid}: {failure.strerror}") from failure
    raise InvalidInput(f"cannot read the user of process {pid}")


@contextlib.contextmanager
def taken_trees(pid: int) -> Iterator[dict[str, int]]:
    """Path in the host -> descriptor of a copy of the mount there; the root is `/`. Blocks for a moment. OSError."""
    wanted = ["/", *(path for path in _SHARED if path in _mount_points(pid))]
    taken: dict[str, int] = {}

    def take() -> None:
        mounts.enter_mount_namespace(Path(f"/proc/{pid}/ns/mnt"))
        for path in wanted:
            taken[path] = mounts.clone_tree(Path(path))

    try:
        # A thread of its own, which ends in the host's mount namespace.
        with ThreadPoolExecutor(1, thread_name_prefix="joining") as thread:
            thread.submit(take).result()
        yield taken
    finally:
        for descriptor in taken.values():
            os.close(descriptor)


def place(directory: Path, trees: dict[str, int], package: str, layers: tuple[Path, ...]) -> tuple[list[Mount], bool]:
    """Mount host's root and package below the bundle `directory`; what else is to be mounted, and if the root is ro.

    Runs in the engine's mount namespace. OSError.
    """
    rootfs = directory / "rootfs"
    mounts.attach_tree(trees["/"], rootfs)
    flags = os.statvfs(rootfs).f_flag
    read_only = bool(flags & os.ST_RDONLY)
    if read_only:  # of this copy alone: the runtime has to make mount points in it before it is read-only again
        remount = mounts.MS_REMOUNT | mounts.MS_BIND | (flags & _KEPT_FLAGS)
        mounts.mount("", rootfs, flags=remount)
    own = []
    for number, path in enumerate(path for path in trees if path != "/"):
        target = directory / f"shared{number}"
        target.mkdir() if path == "/dev/shm" else target.touch()
        mounts.attach_tree(trees[path], target)
        own.append(Mount(target, path))
    packages = directory / "packages"
    _mount_package(packages / package.removeprefix(f"{PACKAGES}/"), layers)
    return [*own, Mount(packages, PACKAGES, read_only=True)], read_only


def _mount_package(target: Path, layers: tuple[Path, ...]) -> None:
    """Read-only; nothing of it is a device or gives privileges."""
    target.mkdir(parents=True)
    flags = mounts.MS_RDONLY | mounts.MS_NOSUID | mounts.MS_NODEV
    if len(layers) == 1:
        mounts.mount(str(layers[0]), target, flags=mounts.MS_BIND)
        mounts.mount("", target, flags=mounts.MS_REMOUNT | mounts.MS_BIND | flags)
    else:
        mounts.mount("overlay", target, "overlay", flags, f"lowerdir={':'.join(str(layer) for layer in layers)}")


def _mount_points(pid: int) -> set[str]:
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        return {line.split()[4] for line in lines}
