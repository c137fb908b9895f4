"""Writes the entries of one layer below a directory, and nowhere else; whiteouts become those of overlayfs.

Every step down is an `openat` with O_NOFOLLOW from the directory's own descriptor, so no symbolic link of the layer is
ever followed (and `unpack.py` is chrooted there besides). Needs root: ownership, whiteout nodes, trusted attributes.
Times of directories are not kept. Used by `unpack.py` only.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from typing import Final

from gateway.errors import InvalidInput, NotFound, NotSupported, Unavailable
from gateway.images.entrypath import Role, place, split_path
from gateway.images.tarstream import Entry, Kind

OPAQUE_XATTR: Final = "trusted.overlay.opaque"
KEPT_XATTRS: Final = ("security.capability", "user.")
"""Everything else is dropped: above all `trusted.overlay.*`, which would let a layer redirect into others."""
CHUNK_BYTES: Final = 1 << 18
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class LayerWriter:
    """One layer. `max_bytes` of data and `max_entries` stop bombs."""

    def __init__(self, root: int, max_bytes: int, max_entries: int) -> None:
        """`root` is a descriptor of the empty directory; it stays the caller's."""
        self._root = root
        self._bytes_left, self._entries_left = max_bytes, max_entries
        self.written_bytes = 0
        self._parent: tuple[tuple[str, ...], int] | None = None
        """The directory that was written to last: entries of one directory come one after the other."""

    def add(self, entry: Entry, read: Callable[[int], bytes]) -> None:
        """Write one entry; `read` gives a file's data.

        InvalidInput: it would leave the layer. NotSupported: a device node. Unavailable: a limit, or the disk is full.
        """
        where = place(entry.name)
        self._count(entry)
        try:
            if where.role is Role.WHITEOUT:
                self._whiteout(where.parts)
            elif where.role is Role.OPAQUE:
                self._with_directory(where.parts, self._make_opaque)
            elif where.role is Role.CONTENT:
                self._content(where.parts, entry, read)
        except OSError as failure:
            if failure.errno in (errno.ELOOP, errno.ENOTDIR):
                cause = "a directory of its path is a symbolic link or a file"
                raise InvalidInput(f"cannot unpack {entry.name[:200]!r}: {cause}") from failure
            raise Unavailable(f"cannot unpack {entry.name[:200]!r}: {failure.strerror}") from failure
        except (OverflowError, ValueError) as failure:
            raise InvalidInput(f"cannot unpack {entry.name[:200]!r}: {failure}") from failure

    def close(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None

    def _count(self, entry: Entry) -> None:
        self._entries_left -= 1
        self._bytes_left -= entry.size
        if self._entries_left < 0 or self._bytes_left < 0:
            limit = "entries" if self._entries_left < 0 else "bytes"
            raise Unavailable(f"cannot unpack {entry.name[:200]!r}: the layer has more {limit} than the limit")
        self.written_bytes += entry.size

    def _directory(self, parts: tuple[str, ...]) -> int:
        """A descriptor of the directory `parts`, made where it is missing. Valid until the next call."""
        if self._parent is not None and self._parent[0] == parts:
            return self._parent[1]
        current = os.dup(self._root)
        try:
            for part in parts:
                following = _enter(current, part)
                os.close(current)
                current = following
        except BaseException:
            os.close(current)
            raise
        self.close()
        self._parent = (parts, current)
        return current

    def _with_directory(self, parts: tuple[str, ...], action: Callable[[int], None]) -> None:
        action(self._directory(parts))

    def _make_opaque(self, directory: int) -> None:
        os.setxattr(directory, OPAQUE_XATTR, b"y")

    def _whiteout(self, parts: tuple[str, ...]) -> None:
        parent, name = self._directory(parts[:-1]), parts[-1]
        found = _lstat(parent, name)
        if found is None:
            os.mknod(name, stat.S_IFCHR | 0o000, os.makedev(0, 0), dir_fd=parent)
        elif stat.S_ISDIR(found.st_mode):
            self._with_directory(parts, self._make_opaque)  # the layer replaces the directory: nothing shows through

    def _content(self, parts: tuple[str, ...], entry: Entry, read: Callable[[int], bytes]) -> None:
        if entry.kind is Kind.DEVICE:
            raise NotSupported(f"cannot unpack {entry.name[:200]!r}: device nodes in images are refused")
        if not parts:
            if entry.kind is Kind.DIRECTORY:
                _set_attributes(self._root, entry)
            return
        if entry.kind is Kind.DIRECTORY:
            self._make_directory(parts, entry)
            return
        parent, name = self._directory(parts[:-1]), parts[-1]
        _remove(parent, name)
        if entry.kind is Kind.FILE:
            _write_file(parent, name, entry, read)
        elif entry.kind is Kind.HARDLINK:
            self._hard_link(parts, entry)
        elif entry.kind is Kind.SYMLINK:
            os.symlink(entry.link, name, dir_fd=parent)
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        else:
            os.mkfifo(name, 0o600, dir_fd=parent)
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
            os.chmod(name, entry.mode, dir_fd=parent)

    def _make_directory(self, parts: tuple[str, ...], entry: Entry) -> None:
        parent, name = self._directory(parts[:-1]), parts[-1]
        found = _lstat(parent, name)
        replaces = found is not None and stat.S_ISCHR(found.st_mode)
        if found is not None and not stat.S_ISDIR(found.st_mode):
            _remove(parent, name)
        directory = self._directory(parts)
        if replaces:
            self._make_opaque(directory)
        _set_attributes(directory, entry)

    def _hard_link(self, parts: tuple[str, ...], entry: Entry) -> None:
        """A second name for a file of this same layer. Its target may not be a whiteout or a directory."""
        source = split_path(entry.link)
        if not source or source == parts:
            raise InvalidInput(f"cannot unpack {entry.name[:200]!r}: a hard link to itself")
        target = os.dup(self._directory(source[:-1]))
        try:
            found = _lstat(target, source[-1])
            if found is None:
                raise NotFound(f"cannot unpack {entry.name[:200]!r}: no {entry.link[:200]!r} in the layer to link to")
            if not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
                raise InvalidInput(f"cannot unpack {entry.name[:200]!r}: {entry.link[:200]!r} is not a file")
            parent = self._directory(parts[:-1])
            os.link(source[-1], parts[-1], src_dir_fd=target, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(target)


def _enter(parent: int, name: str) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        os.mkdir(name, 0o755, dir_fd=parent)
        os.chmod(name, 0o755, dir_fd=parent)  # whatever the umask
        return os.open(name, _DIRECTORY, dir_fd=parent)


def _lstat(parent: int, name: str) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=parent)
    except FileNotFoundError:
        return None


def _remove(parent: int, name: str) -> None:
    """Make room for an entry: the last one of a name wins."""
    found = _lstat(parent, name)
    if found is None:
        return
    if stat.S_ISDIR(found.st_mode):
        shutil.rmtree(name, dir_fd=parent)
    else:
        os.unlink(name, dir_fd=parent)


def _write_file(parent: int, name: str, entry: Entry, read: Callable[[int], bytes]) -> None:
    descriptor = os.open(
        name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent
    )
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        while data := read(CHUNK_BYTES):
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
        _set_attributes(descriptor, entry)


def _set_attributes(descriptor: int, entry: Entry) -> None:
    """Owner first: chown clears set-user-id bits and file capabilities."""
    os.fchown(descriptor, entry.uid, entry.gid)
    os.fchmod(descriptor, entry.mode)
    for name, value in entry.xattrs.items():
        if name == KEPT_XATTRS[0] or name.startswith(KEPT_XATTRS[1]):
            os.setxattr(descriptor, name, value)
    os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
