"""What is asked of the image store by hand: what is there, take an archive in, let an image go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from gateway.errors import Conflict, InvalidInput, NotSupported
from gateway.images.archive import Archive, open_archive
from gateway.images.puller import Puller
from gateway.images.store import ImageStore, pinned_digest


class Images:
    """`clean` removes what no APP needs."""

    def __init__(self, store: ImageStore, puller: Puller, clean: Callable[[], Awaitable[None]]) -> None:
        self._store, self._puller, self._clean = store, puller, clean

    def list(self) -> list[dict[str, Any]]:
        """By reference; `imported`: no APP has used it yet."""
        return [{"image": record.image, "imported": record.imported} for record in self._store.images()]

    async def import_archive(self, file: str) -> AsyncIterator[dict[str, Any]]:
        """Every image of an OCI archive that this board can run: progress (`done_bytes`, `total_bytes`, `text`), then
        `{"image": reference}` for each, or `{"skipped": why}`.

        NotSupported when this board can run none of them; otherwise errors as of `Puller.pull`.
        """
        path = Path(file)
        if not path.is_absolute() or "\0" in file:
            raise InvalidInput(f"cannot import {file[:200]!r}: name it by its absolute path")
        archive = await asyncio.to_thread(open_archive, path)
        refused = []
        with contextlib.closing(archive):
            for image in archive.images:
                try:
                    async for step in self._take(archive, image):
                        yield step
                    yield {"image": image}
                except NotSupported as failure:
                    refused.append(failure)
        if len(refused) == len(archive.images):
            raise refused[0]
        for skipped in refused:
            yield {"skipped": skipped.message}

    async def _take(self, archive: Archive, image: str) -> AsyncIterator[dict[str, Any]]:
        async with contextlib.aclosing(self._puller.take(archive, image)) as steps:
            async for step in steps:
                yield {"done_bytes": step.done_bytes, "total_bytes": step.total_bytes, "text": step.text}

    async def remove(self, image: str) -> None:
        """Let go what no APP needs. NotFound; Conflict while an APP runs it or may have to go back to it."""
        pinned_digest(image)
        await asyncio.to_thread(self._store.set_imported, image, False)
        await self._clean()
        if self._store.has(image):
            raise Conflict(f"cannot remove {image}: an APP runs it, or may have to go back to it")
