"""The image store on flash: content-addressed, written so that a power cut at any instant loses nothing acknowledged.

    store.json                       schema version of all of this
    blobs/sha256/<hex>               manifests and configurations; a layer's blob only until it is unpacked, or for good
    ingest/<hex>.<image's hex>       partial download, resumed from its length
    layers/<diff_id's hex>/          an unpacked layer, where an engine wants it; `tmp-*` is half made and swept at boot
    refs/<image's hex>               the record of a whole image, written last

Each step is fsync (syncfs for a layer), rename, fsync of the directory, before the next one counts on it. Does not
download: see `puller.py`. Blocks for the disk; `has()` and `rootfs()` answer from memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import re
import shutil
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from gateway.errors import Corrupted, FieldgateError, InvalidInput, NotFound, NotSupported
from gateway.host.files import fsync_directory, read_limited, write_durable
from gateway.host.statefile import StateFile
from gateway.images.export import DIRECTORIES, Forms, ImageExport, load_export
from gateway.images.manifest import MAX_CONFIG_BYTES, Descriptor
from gateway.images.records import Record, hexadecimal, load_rootfs, read_record, write_record
from gateway.images.unpacker import unpack_layer
from gateway.model.image import Reference, Rootfs

log = logging.getLogger(__name__)

SCHEMA: Final = 1
_TEMPORARY: Final = "tmp-"
_MENTION: Final = re.compile(rb"sha256:([0-9a-f]{64})")


class ImageStore:
    """One directory tree, one agent (which holds its own lock). Implements the engines' `RootfsSource`, `ExportSource`.

    `forms` is how layers are kept; images that another profile has left in another form are completed or trimmed.
    """

    def __init__(self, root: Path, forms: Forms = DIRECTORIES) -> None:
        self.root = root
        self._forms = forms
        self.blobs, self.ingest = root / "blobs" / "sha256", root / "ingest"
        self.layers, self.refs = root / "layers", root / "refs"
        self._images: dict[str, tuple[Record, Rootfs]] = {}
        self._lock = threading.Lock()
        """Removal may run in a thread: it and `reserve` must see each other."""
        self._reserved: Counter[str] = Counter()

    def open(self) -> None:
        """Check the schema, sweep what is half made, load the records; partial downloads stay. Blocks.

        NotSupported: a newer agent wrote the store. Damaged images are forgotten, so that they are pulled anew.
        """
        for directory in (self.blobs, self.ingest, self.layers, self.refs):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        schema = StateFile(self.root / "store.json", SCHEMA)
        if schema.read() is None:
            schema.write({})
        for leftover in self.layers.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        for directory in (self.blobs, self.refs):
            for path in directory.glob(".*.new"):
                path.unlink()
        self._images.clear()
        for path in sorted(self.refs.iterdir()):
            self._load(path)
        log.info("image store opened images=%d", len(self._images))

    def has(self, image: str) -> bool:
        """Whether the pinned reference is here, complete and unpacked. InvalidInput: not pinned."""
        return pinned_digest(image) in self._images

    def rootfs(self, image: str) -> Rootfs:
        """NotFound: not (completely) here."""
        found = self._images.get(pinned_digest(image))
        if found is None or not self._forms.unpacked:
            raise NotFound(f"cannot use image {image}: it is not in the store")
        return found[1]

    def export(self, image: str) -> ImageExport:
        """The image as it was pulled. NotFound: not (completely) here."""
        found = self._images.get(pinned_digest(image))
        exported = self._exported(found[0]) if found is not None and self._forms.packed else "it is not in the store"
        if isinstance(exported, str):
            raise NotFound(f"cannot use image {image}: {exported}")
        return exported

    def exports(self) -> frozenset[str]:
        """The configuration digests of all images."""
        return frozenset(record.config for record, _ in self._images.values())

    def forget_damaged(self, image: str) -> None:
        """Read all blobs of the image; what is damaged is removed and the image forgotten, so that it is pulled again.

        Blocks for as long as it takes to hash them.
        """
        digest = pinned_digest(image)
        record = self._images[digest][0]
        exported = self._exported(record)
        damaged = [exported] if isinstance(exported, str) else []
        for layer in () if isinstance(exported, str) else exported.layers:
            if not self._is_sound(layer):
                self.blob_path(layer.digest).unlink(missing_ok=True)
                damaged.append(f"blob {layer.digest} is damaged")
        if damaged:
            log.error("image forgotten image=%s cause=%s", record.image, damaged[0])
            with self._lock:
                del self._images[digest]
                (self.refs / hexadecimal(digest)).unlink(missing_ok=True)

    def images(self) -> list[Record]:
        """By reference."""
        return sorted((record for record, _ in self._images.values()), key=lambda record: record.image)

    def set_imported(self, image: str, imported: bool) -> None:
        """Whether it stays though no APP uses it. NotFound. Blocks for an fsync."""
        digest = pinned_digest(image)
        with self._lock:
            if digest not in self._images:
                raise NotFound(f"cannot find image {image} in the store", hint="fieldgate images lists what is there")
            record, rootfs = self._images[digest]
            if record.imported != imported:
                record = replace(record, imported=imported)
                write_record(self.refs, record)
                self._images[digest] = (record, rootfs)

    # What the puller needs

    @contextlib.contextmanager
    def reserve(self, digests: Iterable[str]) -> Iterator[None]:
        """Keep these blobs and layers (digests, diff_ids) from `remove_unreferenced` while a pull counts on them."""
        names = [hexadecimal(digest) for digest in digests]
        with self._lock:
            self._reserved.update(names)
        try:
            yield
        finally:
            with self._lock:
                self._reserved -= Counter(names)

    def has_layer(self, diff_id: str) -> bool:
        return (self.layers / hexadecimal(diff_id)).is_dir()

    def blob_path(self, digest: str) -> Path:
        return self.blobs / hexadecimal(digest)

    def is_complete(self, layer: Descriptor, diff_id: str) -> bool:
        """Whether a layer is here in every form that is wanted."""
        unpacked = not self._forms.unpacked or self.has_layer(diff_id)
        return unpacked and (not self._forms.packed or self.has_blob(layer))

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Whether a blob is here in full length; it was verified before it came here."""
        with contextlib.suppress(FileNotFoundError):
            return self.blob_path(descriptor.digest).stat().st_size == descriptor.size
        return False

    def small_blob(self, digest: str) -> bytes | None:
        """A manifest or configuration, verified again; None when it is not here or damaged."""
        with contextlib.suppress(FileNotFoundError, InvalidInput):
            data = read_limited(self.blob_path(digest), MAX_CONFIG_BYTES)
            if hashlib.sha256(data).hexdigest() == hexadecimal(digest):
                return data
        return None

    def put_small_blobs(self, blobs: Mapping[str, bytes]) -> None:
        """Store verified manifests and configurations by digest; blocks for fsyncs unless they are here."""
        for digest, data in blobs.items():
            if self.small_blob(digest) is None:
                write_durable(self.blob_path(digest), data)

    def partial(self, digest: str, image_digest: str) -> Path:
        """Where a blob is downloaded to; a part of it that another image's pull has left is taken over."""
        path = self.ingest / f"{hexadecimal(digest)}.{hexadecimal(image_digest)}"
        if not path.exists():
            for other in self.ingest.glob(f"{hexadecimal(digest)}.*"):
                other.rename(path)
                break
        return path

    def partial_bytes(self, digest: str) -> int:
        """How much of a blob was downloaded; changes nothing."""
        for path in self.ingest.glob(f"{hexadecimal(digest)}.*"):
            with contextlib.suppress(FileNotFoundError):
                return path.stat().st_size
        return 0

    def accept_blob(self, partial: Path, digest: str) -> None:
        """A downloaded file that was verified and fsynced becomes a blob."""
        partial.rename(self.blob_path(digest))
        fsync_directory(self.blobs)
        fsync_directory(self.ingest)

    async def unpack(self, layer: Descriptor, diff_id: str, max_bytes: int) -> int:
        """Make `layers/<diff_id>` of a blob that is here; returns its bytes of data. Errors as of `unpack_layer`.

        The blob goes when the layer is there (unless blobs are wanted), or when it proves to be damaged; a refused one
        waits for its removal. Where nobody wants it unpacked the blob is all there is to do.
        """
        if not self._forms.unpacked or self.has_layer(diff_id):
            return 0
        blob, target = self.blob_path(layer.digest), self.layers / f"{_TEMPORARY}{hexadecimal(diff_id)}"
        try:
            await asyncio.to_thread(_fresh_directory, target)
            size = await unpack_layer(blob, layer, diff_id, target, max_bytes)
            await asyncio.to_thread(self._accept_layer, target, diff_id)
        except Corrupted:
            blob.unlink(missing_ok=True)
            raise
        finally:
            await asyncio.to_thread(shutil.rmtree, target, ignore_errors=True)
        if not self._forms.packed:
            blob.unlink(missing_ok=True)
        return size

    def commit(self, record: Record) -> None:
        """The image is complete: durable, then known. Corrupted: it is not. Blocks for an fsync."""
        rootfs = self._complete(record)
        if isinstance(rootfs, str):
            raise Corrupted(f"cannot keep image {record.image}: {rootfs}")
        write_record(self.refs, record)
        with self._lock:
            self._images[record.pinned] = (record, rootfs)
        log.info("image complete image=%s layers=%d", record.image, len(record.diff_ids))

    # Removal

    def remove_unreferenced(self, keep: Collection[str]) -> int:
        """Remove every image but those in `keep` (pinned references), their partial downloads, and layers and blobs
        that no image needs; bytes freed. What a running pull counts on stays, and what was imported until it was in
        `keep` once. Blocks: call it from a thread.
        """
        wanted = {pinned_digest(image) for image in keep}
        for digest in wanted & self._images.keys():
            self.set_imported(self._images[digest][0].image, False)
        with self._lock:
            wanted |= {digest for digest, (record, _) in self._images.items() if record.imported}
            for digest in [digest for digest in self._images if digest not in wanted]:
                record, _ = self._images.pop(digest)
                (self.refs / hexadecimal(digest)).unlink(missing_ok=True)
                log.info("image removed image=%s", record.image)
            fsync_directory(self.refs)
            doomed = list(self._unreferenced({hexadecimal(digest) for digest in wanted}))
            sizes = sum(_size(path) for path in doomed)
            doomed = [self._set_aside(path) for path in doomed]
        for path in doomed:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        return sizes

    def _unreferenced(self, wanted: set[str]) -> Iterator[Path]:
        records = [record for record, _ in self._images.values()]
        reserved = {name for name, count in self._reserved.items() if count > 0}
        complete = {hexadecimal(record.pinned) for record in records}
        reserved |= self._mentioned(wanted - complete)
        diff_ids = {hexadecimal(diff_id) for record in records for diff_id in record.diff_ids}
        diff_ids = (diff_ids if self._forms.unpacked else set()) | reserved
        blobs = {hexadecimal(blob) for record in records for blob in record.blobs} | reserved
        for exported in [self._exported(record) for record in records] if self._forms.packed else []:
            blobs |= set() if isinstance(exported, str) else {hexadecimal(layer.digest) for layer in exported.layers}
        yield from (p for p in self.layers.iterdir() if p.name not in diff_ids and not p.name.startswith(_TEMPORARY))
        yield from (p for p in self.blobs.iterdir() if p.name not in blobs)
        for path in self.ingest.iterdir():
            blob, _, image = path.name.partition(".")
            if image not in wanted and blob not in reserved:
                yield path

    def _mentioned(self, names: set[str]) -> set[str]:
        """What is here of images whose pull was interrupted: all that their manifests and configurations mention."""
        found: set[str] = set()
        todo = set(names)
        while todo:
            name = todo.pop()
            found.add(name)
            todo |= {match.decode() for match in _MENTION.findall(self.small_blob(name) or b"")} - found
        return found

    def _set_aside(self, path: Path) -> Path:
        """A layer is renamed before it is emptied: a crash in between must not leave half of it under its name."""
        if path.parent != self.layers:
            return path
        aside = path.with_name(f"{_TEMPORARY}removed-{path.name}")
        path.rename(aside)
        fsync_directory(self.layers)
        return aside

    def _accept_layer(self, target: Path, diff_id: str) -> None:
        target.rename(self.layers / hexadecimal(diff_id))
        fsync_directory(self.layers)

    def _exported(self, record: Record) -> ImageExport | str:
        manifest, config = self.small_blob(record.manifest) or b"", self.small_blob(record.config) or b""
        return load_export(record, self.blobs, manifest, config)

    def _complete(self, record: Record) -> Rootfs | str:
        """The image when it is here in every form that is wanted; a string: what is missing."""
        if self._forms.packed:
            exported = self._exported(record)
            if isinstance(exported, str) or not self._forms.unpacked:
                return exported if isinstance(exported, str) else Rootfs(record.manifest, (), exported.config)
        return load_rootfs(record, self.layers, self.small_blob(record.config) or b"")

    def _is_sound(self, layer: Descriptor) -> bool:
        try:
            with self.blob_path(layer.digest).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == hexadecimal(layer.digest)
        except OSError:
            return False

    def _load(self, path: Path) -> None:
        try:
            record = read_record(path)
            rootfs = self._complete(record)
        except NotSupported:
            raise
        except FieldgateError as error:
            rootfs = error.message
        if isinstance(rootfs, str):
            log.warning("image forgotten ref=%s cause=%s", path.name, rootfs)
            path.unlink()
        else:
            self._images[record.pinned] = (record, rootfs)


def pinned_digest(image: str) -> str:
    """The digest of a pinned reference; InvalidInput when it has none."""
    digest = Reference.parse(image).digest
    if not digest:
        raise InvalidInput(f"cannot use image {image!r}: it has no digest", hint="images are pinned when deployed")
    return digest


def _fresh_directory(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o755)


def _size(path: Path) -> int:
    """Bytes of data below `path`, following nothing."""
    if not path.is_dir():
        return path.lstat().st_size
    return sum(os.lstat(os.path.join(base, name)).st_size for base, _, names in os.walk(path) for name in names)
