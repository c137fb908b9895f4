"""Writes a layer as a tar whose bytes depend on its content only: sorted, one owner, one time, no machine's traces.

Used by `base.py` (from a directory) and `app.py` (from COPY steps).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuild import SOURCE_DATE_EPOCH, BuildError


@dataclass(frozen=True)
class Member:
    """A path in the layer: a file or symbolic link of the host that it comes from, or (`source` None) a directory."""

    source: Path | None
    mode: int


def epoch() -> int:
    """The time of every file, in seconds."""
    return int(os.environ.get("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH))


def members_of(directory: Path) -> Iterator[tuple[str, Member]]:
    """All that is below `directory` by relative path, with its own modes. Devices and sockets are left out."""
    for path in sorted(directory.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            yield str(path.relative_to(directory)), Member(None, stat.S_IMODE(mode))
        elif stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            yield str(path.relative_to(directory)), Member(path, stat.S_IMODE(mode))


def write_tar(target: Path, members: Mapping[str, Member]) -> str:
    """Write `target`, return its digest: the layer's diff_id."""
    # GNU format: pax would add headers whose order and content depend on Python's version.
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted(members):
            _add(tar, name, members[name])
    return digest_of(target)


def _add(tar: tarfile.TarFile, name: str, member: Member) -> None:
    entry = tarfile.TarInfo(name)
    entry.mtime, entry.mode = epoch(), member.mode
    if member.source is None:
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
    elif member.source.is_symlink():
        entry.type, entry.mode, entry.linkname = tarfile.SYMTYPE, 0o777, os.readlink(member.source)
        tar.addfile(entry)
    else:
        data = member.source.read_bytes()
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))


def compress_gzip(source: Path, target: Path) -> None:
    """No name and no time in the header."""
    with source.open("rb") as file, target.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as out:
        while chunk := file.read(1 << 20):
            out.write(chunk)


def compress_zstd(source: Path, target: Path) -> None:
    """Single-threaded, since the number of threads shows in the bytes. BuildError: no zstd."""
    argv = ["zstd", "--quiet", "--force", "-12", "--single-thread", "--no-check", str(source), "-o", str(target)]
    try:
        subprocess.run(argv, check=True, capture_output=True, timeout=300)
    except FileNotFoundError as failure:
        raise BuildError("cannot compress the layer: zstd is not installed (Debian package zstd)") from failure
    except subprocess.CalledProcessError as failure:
        raise BuildError(f"cannot compress the layer: {failure.stderr.decode(errors='replace').strip()}") from failure


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
