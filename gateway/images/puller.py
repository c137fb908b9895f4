"""Brings a pinned image into the store: manifest, disk check, layers by range over a link that drops, unpack, record.

From a registry or from an archive, by the same steps and checks. Retries a registry a bounded number of times without
progress; trying again for ever is the reconciler's part. Two pulls of the same image or layer run one after the other.
Used by `reconcile/` and `operations/`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from gateway.errors import Corrupted, InvalidInput, NotSupported, TimedOut, Unavailable
from gateway.images.archive import Archive
from gateway.images.download import Download
from gateway.images.manifest import Descriptor, Manifest, choose_platform, is_index, parse_configuration, parse_manifest
from gateway.images.records import Record
from gateway.images.registry import Credentials, Registry
from gateway.images.source import Source
from gateway.images.space import MissingLayer, check_space, needed_bytes
from gateway.images.store import ImageStore, pinned_digest
from gateway.images.turns import Turns
from gateway.lifecycle.backoff import Backoff
from gateway.model.image import Reference

log = logging.getLogger(__name__)
T = TypeVar("T")

RETRY: Final = Backoff(first_s=0.5, cap_s=20.0)
TRIES: Final = 8
"""Attempts in a row that bring no byte; about a minute with RETRY."""
PROGRESS_INTERVAL_S: Final = 0.25
ABORT_TIMEOUT_S: Final = 12.0


@dataclass(frozen=True, slots=True)
class PullProgress:
    """Compressed bytes of all layers; `total_bytes` is 0 until the manifest is known. `text` is for people."""

    done_bytes: int
    total_bytes: int
    text: str
    layer: int = 0
    """Which of `layers` it is at, from 1 on; 0 until the manifest is known."""
    layers: int = 0


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where an image comes from; `tries` attempts in a row may bring no byte."""

    source: Source
    reference: Reference
    tries: int


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the manifest says is to be done."""

    origin: _Origin
    manifest: Manifest
    record: Record
    small: dict[str, bytes]
    """The index, manifest and configuration, by digest."""

    @property
    def layers(self) -> tuple[tuple[Descriptor, str], ...]:
        return tuple(zip(self.manifest.layers, self.record.diff_ids, strict=True))

    @property
    def total_bytes(self) -> int:
        return sum(layer.size for layer in self.manifest.layers)


class Puller:
    """`architecture` is OCI's (`arm64`, `arm/v7`); `plain_http` the profile's `plain_http_registries`."""

    def __init__(
        self,
        store: ImageStore,
        architecture: str,
        plain_http: Sequence[str],
        reserved_disk_bytes: int,
        *,
        credentials: Credentials | None = None,
        retry: Backoff = RETRY,
        tries: int = TRIES,
    ) -> None:
        self._store, self._architecture = store, architecture
        self._plain_http, self._reserved_disk_bytes = tuple(plain_http), reserved_disk_bytes
        self._credentials, self._retry, self._tries = credentials, retry, tries
        self._turns = Turns()
        self._troubles: dict[str, str] = {}

    def trouble(self, image: str) -> str:
        """Why its pull makes no headway at the moment: the last failure, until bytes come again. Empty: none."""
        return self._troubles.get(pinned_digest(image), "")

    async def pull(self, image: str) -> AsyncGenerator[PullProgress, None]:
        """Yields progress a few times a second and ends when the store has the image. Iterate it under `aclosing`.

        InvalidInput: not pinned, or refused content. NotPermitted: plain HTTP, or the registry refuses. NotFound.
        NotSupported: no such platform. Corrupted: wrong digests. Unavailable: no link, or no disk; worth trying again.
        """
        reference, pinned = Reference.parse(image), pinned_digest(image)
        async with self._turns.of(pinned), self._without_trouble(pinned):
            if self._store.has(image):
                return
            registry = Registry(reference.host, self._plain_http, self._credentials)
            async with contextlib.aclosing(self._bring(_Origin(registry, reference, self._tries))) as steps:
                async for step in steps:
                    yield step

    async def take(self, archive: Archive, image: str) -> AsyncGenerator[PullProgress, None]:
        """As `pull`, from an archive, with one attempt; it stays in the store until an APP has used it."""
        reference, pinned = Reference.parse(image), pinned_digest(image)
        async with self._turns.of(pinned), self._without_trouble(pinned):
            if not self._store.has(image):
                async with contextlib.aclosing(self._bring(_Origin(archive, reference, 1), imported=True)) as steps:
                    async for step in steps:
                        yield step
            await asyncio.to_thread(self._store.set_imported, image, True)

    async def _bring(self, origin: _Origin, *, imported: bool = False) -> AsyncGenerator[PullProgress, None]:
        yield PullProgress(0, 0, f"asking {origin.source.host} for the manifest")
        plan = await self._resolve(origin)
        with self._store.reserve(_everything(plan)):
            self._check_space(plan)
            await asyncio.to_thread(self._store.put_small_blobs, plan.small)
            done = 0
            for number, (layer, diff_id) in enumerate(plan.layers, 1):
                where = f"layer {number} of {len(plan.layers)}"
                async with contextlib.aclosing(self._layer(plan, layer, diff_id)) as steps:
                    async for bytes_done, verb in steps:
                        yield PullProgress(
                            done + bytes_done, plan.total_bytes, f"{verb} {where}", number, len(plan.layers)
                        )
                done += layer.size
            await asyncio.to_thread(self._store.commit, replace(plan.record, imported=imported))
        yield PullProgress(plan.total_bytes, plan.total_bytes, "complete")

    # The manifest

    async def _resolve(self, origin: _Origin) -> _Plan:
        reference = origin.reference
        pinned = manifest_digest = reference.digest
        raw = await self._small(origin, pinned, None)
        small = {pinned: raw}
        if is_index(raw):
            manifest_digest = choose_platform(raw, self._architecture).digest
            raw = small[manifest_digest] = await self._small(origin, manifest_digest, None)
        manifest = parse_manifest(raw)
        config = manifest.config
        small[config.digest] = await self._small(origin, config.digest, config.size)
        configuration = parse_configuration(small[config.digest])
        if not configuration.runs_on(self._architecture):
            raise NotSupported(
                f"cannot use image {reference}: it is for {configuration.architecture}, this is {self._architecture}"
            )
        if len(configuration.diff_ids) != len(manifest.layers):
            raise InvalidInput(
                f"cannot use image {reference}: {len(manifest.layers)} layers"
                f" but {len(configuration.diff_ids)} config.rootfs.diff_ids"
            )
        record = Record(str(reference), pinned, manifest_digest, config.digest, configuration.diff_ids)
        return _Plan(origin, manifest, record, small)

    async def _small(self, origin: _Origin, digest: str, size: int | None) -> bytes:
        """A manifest (`size` None) or configuration: from the store, otherwise from its origin."""
        source, repository = origin.source, origin.reference.repository

        def fetch() -> bytes:
            if (stored := self._store.small_blob(digest)) is not None:
                return stored
            if size is None:
                return source.manifest(repository, digest)
            return source.small_blob(repository, digest, size)

        for failures in range(1, origin.tries + 1):
            try:
                return await _in_thread(source, fetch)
            except (Unavailable, TimedOut) as error:
                await self._before_retry(origin, error, failures)
        raise AssertionError("unreachable: the last failure raises")

    # Layers

    async def _layer(self, plan: _Plan, layer: Descriptor, diff_id: str) -> AsyncGenerator[tuple[int, str], None]:
        """Make one layer present; yields (compressed bytes done, what is being done)."""
        async with self._turns.of(layer.digest, diff_id):
            if self._store.is_complete(layer, diff_id):
                yield layer.size, "found"
                return
            if not self._store.has_blob(layer):
                async with contextlib.aclosing(self._download(plan, layer)) as offsets:
                    async for offset in offsets:
                        yield offset, "pulling"
            yield layer.size, "unpacking"
            await self._store.unpack(layer, diff_id, self._free_bytes() - self._reserved_disk_bytes)

    async def _download(self, plan: _Plan, layer: Descriptor) -> AsyncGenerator[int, None]:
        """Until the blob is in the store: every dropped link is taken up where it dropped."""
        source, repository = plan.origin.source, plan.origin.reference.repository
        partial = self._store.partial(layer.digest, plan.record.pinned)
        download = Download(partial, layer)
        failures, damaged, before = 0, 0, -1
        while True:
            task = asyncio.create_task(_in_thread(source, lambda: download.attempt(source, repository)))
            try:
                while not (await asyncio.wait([task], timeout=PROGRESS_INTERVAL_S))[0]:
                    if download.offset > before >= 0:
                        self._troubles.pop(plan.record.pinned, None)
                    yield download.offset
            finally:
                await _settle(task)
            try:
                task.result()
                break
            except Corrupted:
                damaged += 1
                if damaged > 1:
                    raise
                log.warning("blob damaged, fetching it again digest=%s", layer.digest)
            except (Unavailable, TimedOut) as error:
                failures = 1 if download.offset > before >= 0 else failures + 1
                before = download.offset
                await self._before_retry(plan.origin, error, failures)
        await asyncio.to_thread(self._store.accept_blob, partial, layer.digest)

    async def _before_retry(self, origin: _Origin, error: Unavailable | TimedOut, failures: int) -> None:
        """Wait, or give up."""
        self._troubles[origin.reference.digest] = error.message
        if failures >= origin.tries:
            raise error
        log.log(logging.WARNING if failures == 1 else logging.DEBUG, "pull interrupted, trying again cause=%s", error)
        await asyncio.sleep(self._retry.delay_s(failures, random.random))

    @contextlib.asynccontextmanager
    async def _without_trouble(self, pinned: str) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self._troubles.pop(pinned, None)

    # Disk

    def _check_space(self, plan: _Plan) -> None:
        missing = {}
        for layer, diff_id in plan.layers:
            if not self._store.is_complete(layer, diff_id):
                present = layer.size if self._store.has_blob(layer) else self._store.partial_bytes(layer.digest)
                missing[diff_id] = MissingLayer(layer.size, min(present, layer.size), layer.compression != "none")
        check_space(plan.record.image, needed_bytes(missing.values()), self._free_bytes(), self._reserved_disk_bytes)

    def _free_bytes(self) -> int:
        found = os.statvfs(self._store.root)
        return found.f_bavail * found.f_frsize


def _everything(plan: _Plan) -> list[str]:
    blobs = [layer.digest for layer in plan.manifest.layers]
    return [*plan.record.blobs, *plan.record.diff_ids, *blobs]


async def _in_thread(source: Source, function: Callable[[], T]) -> T:
    """Run blocking code in a worker thread; a cancelled caller cuts its connection and waits for it to end."""
    task = asyncio.ensure_future(asyncio.to_thread(function))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        source.abort()
        await asyncio.wait([task], timeout=ABORT_TIMEOUT_S)
        if task.done() and not task.cancelled():
            task.exception()  # it was told to fail: nobody needs to hear of it
        raise


async def _settle(task: asyncio.Task[None]) -> None:
    """Cancel it if it still runs, and wait for its end."""
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
