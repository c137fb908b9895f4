"""A blob as the stream of its uncompressed bytes, hashed on the way, in bounded memory.

gzip by zlib; zstd by the `zstd` program, since Python has no module for it before 3.14. Used by `unpack.py` and
`export.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import zlib
from collections.abc import Iterator
from typing import IO, Final, Protocol

from gateway.errors import Corrupted, NotSupported, Unavailable

CHUNK_BYTES: Final = 1 << 17
ZSTD_MEMORY: Final = "64MiB"
"""Largest window that is decoded: `zstd -19` uses 8 MiB, only `--ultra` and `--long` more."""


class Source(Protocol):
    def read(self, limit: int, /) -> bytes: ...


class HashedStream:
    """Reads from `source`; `digest` is that of all bytes that were read so far."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._hash = hashlib.sha256()

    def read(self, limit: int) -> bytes:
        data = self._source.read(limit)
        self._hash.update(data)
        return data

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


class GzipSource:
    """All members of a gzip file; zeros after the last one are padding."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._inflate = zlib.decompressobj(wbits=31)
        self._input = b""

    def read(self, limit: int) -> bytes:
        """Up to `limit` bytes; empty at the end. Corrupted: not gzip, or cut."""
        while limit:
            if not self._input:
                self._input = self._file.read(CHUNK_BYTES)
            if self._inflate.eof and not self._next_member():
                return b""
            if not self._input:
                raise Corrupted("cannot decompress: the gzip data is cut")
            try:
                data = self._inflate.decompress(self._input, limit)
            except zlib.error as failure:
                raise Corrupted(f"cannot decompress: {failure}") from failure
            self._input = self._inflate.unconsumed_tail or self._inflate.unused_data
            if data:
                return data
        return b""

    def _next_member(self) -> bool:
        self._input = self._input.lstrip(b"\0")
        while not self._input and (chunk := self._file.read(CHUNK_BYTES)):
            self._input = chunk.lstrip(b"\0")
        self._inflate = zlib.decompressobj(wbits=31) if self._input else self._inflate
        return bool(self._input)


class _ZstdSource:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def read(self, limit: int) -> bytes:
        assert self._process.stdout is not None
        data = self._process.stdout.read(limit)
        if not data and limit and (code := self._process.wait(timeout=30)) != 0:
            assert self._process.stderr is not None
            cause = self._process.stderr.read(2000).decode(errors="replace").strip() or f"exit code {code}"
            raise Corrupted(f"cannot decompress: {cause.splitlines()[-1]}")
        return data


@contextlib.contextmanager
def open_decompressed(file: IO[bytes], compression: str) -> Iterator[HashedStream]:
    """`compression` is `none`, `gzip` or `zstd`. The program, if any, is started here: before a chroot."""
    if compression == "none":
        yield HashedStream(file)
    elif compression == "gzip":
        yield HashedStream(GzipSource(file))
    elif compression == "zstd":
        with _zstd(file) as process:
            yield HashedStream(_ZstdSource(process))
    else:
        raise NotSupported(f"cannot decompress: {compression!r} is not known")


@contextlib.contextmanager
def _zstd(file: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    argv = ["zstd", "--decompress", "--stdout", "--quiet", "--no-progress", f"--memory={ZSTD_MEMORY}"]
    try:
        process = subprocess.Popen(argv, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as failure:
        raise Unavailable(f"cannot run zstd: {failure.strerror}", hint="install the Debian package zstd") from failure
    with process:
        try:
            yield process
        finally:
            process.kill()
