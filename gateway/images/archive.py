"""An OCI archive (an image layout in a tar) as a source of images: from a USB stick, the LAN, or a build machine.

Nothing is unpacked by name: members are found by the digest that a manifest asks for, and what comes out of here goes
through the same checks as what comes from a registry. Source: OCI image-spec 1.1, image-layout.md. Used by
`puller.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import Corrupted, InvalidInput, NotFound, NotSupported, Unavailable
from gateway.images.manifest import MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, LayoutImage, parse_layout
from gateway.images.records import hexadecimal
from gateway.images.source import Body
from gateway.images.tarstream import Kind, TarStream
from gateway.model.image import Reference

MAX_MEMBERS: Final = 4096
"""64 images of 96 layers share most of them; a layout has little else."""
_INDEX: Final = "index.json"
_MARKER: Final = "oci-layout"
_BLOB: Final = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_COMPRESSED: Final = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ")
"""gzip, zstd, xz."""
_UNNAMED: Final = "localhost/imported"


@dataclass(frozen=True, slots=True)
class Member:
    """Where a file's data lies in the archive, in bytes."""

    offset: int
    size: int


class Archive:
    """Made by `open_archive`. A `Source` whose repositories do not matter; `images` names what is in it. Close it."""

    def __init__(self, path: Path, descriptor: int, members: dict[str, Member]) -> None:
        self.host = path.name
        self._descriptor, self._members = descriptor, members
        self._aborted = False
        self._check_marker()
        self.images = tuple(_reference(image) for image in parse_layout(self._whole(_INDEX, MAX_MANIFEST_BYTES)))
        """Pinned references, for the digests that a deployment would name."""
        if not self.images:
            raise InvalidInput(f"cannot import {path}: it has no image")

    def manifest(self, repository: str, digest: str) -> bytes:
        return self._verified(digest, MAX_MANIFEST_BYTES)

    def small_blob(self, repository: str, digest: str, size: int) -> bytes:
        return self._verified(digest, min(size, MAX_CONFIG_BYTES))

    def blob(self, repository: str, digest: str, offset: int) -> Body:
        member = self._find(_blob_name(digest))
        start = min(offset, member.size)
        return Body(start, member.size - start, _Slice(self, Member(member.offset + start, member.size - start)))

    def abort(self) -> None:
        self._aborted = True

    def close(self) -> None:
        os.close(self._descriptor)

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset`. Corrupted: there are none; Unavailable: the medium fails, or `abort()`."""
        if self._aborted:
            raise Unavailable(f"cannot read {self.host}: the import was cancelled")
        try:
            data = os.pread(self._descriptor, size, offset)
        except OSError as failure:
            raise Unavailable(f"cannot read {self.host}: {failure.strerror}") from failure
        if size and not data:
            raise Corrupted(f"cannot read {self.host}: it was cut while it was read")
        return data

    def _check_marker(self) -> None:
        if _MARKER not in self._members or _INDEX not in self._members:
            raise NotSupported(
                f"cannot import {self.host}: it is not an OCI archive, it lacks {_MARKER} or {_INDEX}",
                hint="make one with `skopeo copy docker://IMAGE oci-archive:FILE` or `docker buildx build -o type=oci`",
            )
        if b'"1.0.0"' not in self._whole(_MARKER, 4096):
            raise NotSupported(f"cannot import {self.host}: its image layout is not of version 1.0.0")

    def _verified(self, digest: str, limit: int) -> bytes:
        data = self._whole(_blob_name(digest), limit)
        if (found := f"sha256:{hashlib.sha256(data).hexdigest()}") != digest:
            raise Corrupted(f"cannot use blob {digest}: {self.host} has bytes with digest {found}")
        return data

    def _whole(self, name: str, limit: int) -> bytes:
        member = self._find(name)
        if member.size > limit:
            raise InvalidInput(f"cannot import {self.host}: {name} is longer than {limit} bytes")
        data = b""
        while len(data) < member.size:
            data += self.read(member.offset + len(data), member.size - len(data))
        return data

    def _find(self, name: str) -> Member:
        member = self._members.get(name)
        if member is None:
            raise InvalidInput(f"cannot import {self.host}: it lacks {name}")
        return member


class _Slice:
    """A member's data as a stream."""

    def __init__(self, archive: Archive, member: Member) -> None:
        self._archive, self._at, self._end = archive, member.offset, member.offset + member.size

    def read(self, limit: int, /) -> bytes:
        data = self._archive.read(self._at, min(limit, self._end - self._at))
        self._at += len(data)
        return data

    def close(self) -> None:
        """The file is the archive's."""


def open_archive(path: Path) -> Archive:
    """Find out what is in it; blocks for the reading of all headers.

    NotFound: no such file. InvalidInput, NotSupported, Corrupted: not an OCI archive, or beyond the limits.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as failure:
        raise NotFound(f"cannot import {path}: {failure.strerror}") from failure
    try:
        return Archive(path, descriptor, _scan(path, descriptor))
    except BaseException:
        os.close(descriptor)
        raise


def _scan(path: Path, descriptor: int) -> dict[str, Member]:
    """The members that a layout consists of, by name; all others are of no interest."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise InvalidInput(f"cannot import {path}: it is not a file")
    members: dict[str, Member] = {}
    with open(descriptor, "rb", closefd=False) as file:
        if file.peek(6).startswith(_COMPRESSED):
            raise NotSupported(f"cannot import {path}: it is compressed", hint="unpack it first, as with gunzip")

        def skip(size: int) -> None:
            if file.tell() + size > found.st_size:
                raise Corrupted(f"cannot import {path}: it is cut")
            file.seek(size, os.SEEK_CUR)

        with _as_import_errors(path):
            for number, entry in enumerate(TarStream(file.read, skip).entries(), 1):
                if number > MAX_MEMBERS:
                    raise InvalidInput(f"cannot import {path}: more than {MAX_MEMBERS} members")
                name = entry.name.removeprefix("./")
                if entry.kind is not Kind.FILE or not (name in (_INDEX, _MARKER) or _BLOB.fullmatch(name)):
                    continue
                if name in members:
                    raise InvalidInput(f"cannot import {path}: {name} is in it twice")
                members[name] = Member(file.tell(), entry.size)
    return members


@contextlib.contextmanager
def _as_import_errors(path: Path) -> Iterator[None]:
    """What a failing medium says, as ours."""
    try:
        yield
    except OSError as failure:
        raise Unavailable(f"cannot import {path}: {failure.strerror}") from failure


def _blob_name(digest: str) -> str:
    return f"blobs/sha256/{hexadecimal(digest)}"


def _reference(image: LayoutImage) -> str:
    """`name` with its digest, if it is a reference or a tag; it is for people only."""
    for name in (image.name, f"{_UNNAMED}:{image.name}"):
        with contextlib.suppress(InvalidInput):
            named = Reference.parse(name)
            return str(Reference(named.host, named.repository, named.tag, image.descriptor.digest))
    return f"{_UNNAMED}@{image.descriptor.digest}"
