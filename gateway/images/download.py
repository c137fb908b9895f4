"""Downloads one blob into a file that survives: resumed from its length, hashed on the way, fsynced every few MiB.

Blocking: one attempt runs in a worker thread. Decides nothing about retries: `puller.py` does, by watching `offset`.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from gateway.errors import Corrupted, Unavailable
from gateway.images.manifest import Descriptor
from gateway.images.source import Body, Source

SYNC_EVERY_BYTES: Final = 4 << 20
"""The most that a power cut costs."""
CHUNK_BYTES: Final = 1 << 18


class Download:
    """`offset` is how much of the blob is in the file; it may be read from another thread at any time."""

    def __init__(self, path: Path, blob: Descriptor) -> None:
        self.path, self.blob = path, blob
        self.offset = 0
        self.received = 0
        """Bytes that came over the wire, all attempts together."""
        self._hash = hashlib.sha256()
        self._hashed = False

    def attempt(self, source: Source, repository: str) -> None:
        """Fetch what is missing; returns when the file is whole, verified and fsynced.

        Unavailable: the link or the source failed; what came is kept. Corrupted: the bytes are not the blob's, and
        the file was emptied.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(self.path, flags, 0o600), "r+b", buffering=0) as file:
            if not self._hashed:
                self._rehash(file.fileno())
            os.lseek(file.fileno(), self.offset, os.SEEK_SET)
            if self.offset < self.blob.size:
                with source.blob(repository, self.blob.digest, self.offset) as body:
                    self._receive(body, file.fileno())
            if f"sha256:{self._hash.hexdigest()}" != self.blob.digest:
                self._start_over(file.fileno())
                raise Corrupted(f"cannot use blob {self.blob.digest}: the bytes that came have another digest")
            os.fsync(file.fileno())

    def _rehash(self, descriptor: int) -> None:
        """What an earlier agent left: taken as it is, and proven or disproven by the digest of the whole."""
        if os.fstat(descriptor).st_size > self.blob.size:
            os.ftruncate(descriptor, 0)
        self.offset, self._hash = 0, hashlib.sha256()
        while data := os.read(descriptor, CHUNK_BYTES):
            self._hash.update(data)
            self.offset += len(data)
        self._hashed = True

    def _receive(self, body: Body, descriptor: int) -> None:
        """Append the body. One that starts before what we asked for repeats what we have: that is skipped, not lost."""
        skip, expected = self.offset - body.start, self.blob.size - body.start
        if body.size is not None and body.size != expected:
            raise Corrupted(f"cannot use blob {self.blob.digest}: its source has {body.size} bytes, not {expected}")
        unsynced = 0
        try:
            while data := body.read(CHUNK_BYTES):
                self.received += len(data)
                skipped = min(skip, len(data))
                skip -= skipped
                if skipped == len(data):
                    continue
                self._append(descriptor, data[skipped:])
                unsynced += len(data) - skipped
                if unsynced >= SYNC_EVERY_BYTES:
                    os.fdatasync(descriptor)
                    unsynced = 0
        finally:
            if unsynced:
                os.fdatasync(descriptor)
        if self.offset < self.blob.size:
            raise Unavailable(
                f"cannot read blob {self.blob.digest}: the link dropped at {self.offset} of {self.blob.size} bytes"
            )

    def _append(self, descriptor: int, data: bytes) -> None:
        if self.offset + len(data) > self.blob.size:
            self._start_over(descriptor)
            raise Corrupted(f"cannot use blob {self.blob.digest}: longer than the {self.blob.size} bytes announced")
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(descriptor, view) :]
        except OSError as failure:
            self._hashed = False  # part of it may be in the file: the next attempt looks
            raise Unavailable(f"cannot store blob {self.blob.digest}: {failure.strerror}") from failure
        self._hash.update(data)
        self.offset += len(data)

    def _start_over(self, descriptor: int) -> None:
        os.ftruncate(descriptor, 0)
        self.offset, self._hashed = 0, False
