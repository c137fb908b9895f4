"""Files that survive a power cut: write, fsync, rename, fsync the directory (else ext4 and f2fs lose or empty them)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from gateway.errors import Corrupted, InvalidInput


def fsync_directory(path: Path) -> None:
    """Make renames, creations and removals in `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durable(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` by `data` so that a power cut leaves either the old or the new content. OSError as from open."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    fsync_directory(path.parent)


def write_whole(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` by `data`: a reader sees the old or the new content. For tmpfs: no power cut is thought of."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.touch(mode)
    temporary.write_bytes(data)
    temporary.rename(path)


def remove_durable(path: Path) -> None:
    """Remove `path` if it is there, and make that durable."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
        fsync_directory(path.parent)


def read_limited(path: Path, limit_bytes: int) -> bytes:
    """The whole content; InvalidInput if it is longer than `limit_bytes`. OSError as from open."""
    with path.open("rb") as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise InvalidInput(f"cannot read {path}: longer than {limit_bytes} bytes")
    return data


def decode_utf8(data: bytes, what: str) -> str:
    """`data` as text; Corrupted if it is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as failure:
        raise Corrupted(f"cannot read {what}: not UTF-8 at byte {failure.start}") from failure
