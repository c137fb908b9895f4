"""The root file system of a container: the image's layers, and above them a bounded place for what it writes.

What is written there is gone with the container. It lies on a tmpfs of its own, so that an APP which fills its root
fills nobody else's, and so that it counts as memory of the container that wrote it. Used by `oci/` and `lxc/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gateway.host import mounts

DEFAULT_BYTES: Final = 64 << 20
"""For a service that says nothing (`storage_opt.size` in the manifest)."""


def mount_root(directory: Path, layers: tuple[Path, ...], size_bytes: int | None) -> None:
    """Mount it at `directory`/rootfs, in the calling thread's mount namespace; `mounts.unmount_below` undoes it."""
    scratch = directory / "scratch"
    options = f"mode=700,size={size_bytes or DEFAULT_BYTES}"
    mounts.mount("tmpfs", scratch, "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV, options)
    (scratch / "upper").mkdir(mode=0o755)
    (scratch / "work").mkdir(mode=0o755)
    mounts.mount_overlay(directory / "rootfs", layers, scratch / "upper", scratch / "work")
