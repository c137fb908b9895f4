"""What is written down of versions: which was good, which failed, which APP is gone; and which images go with that."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Protocol

from gateway.model.app import App
from gateway.reconcile.records import AppRecord, AppRecords
from gateway.reconcile.steps import MarkFailed, MarkGood
from gateway.reconcile.wanted import Wanted

log = logging.getLogger(__name__)


class ImageCleaner(Protocol):
    """`images.store.ImageStore`."""

    def remove_unreferenced(self, keep: frozenset[str]) -> int: ...


class Bookkeeping:
    def __init__(self, wanted: Wanted, records: AppRecords, images: ImageCleaner) -> None:
        self._wanted = wanted
        self._records = records
        self._images = images

    async def mark(self, app: str, step: MarkGood | MarkFailed) -> None:
        """The verdict on the version that was rolled out."""
        if isinstance(step, MarkFailed):
            await asyncio.to_thread(self._records.change, app, lambda record: _failed(record, step))
            log.warning("rolling back app=%s version=%s reason=%s", app, step.version.version, step.reason)
            return
        wanted = self._wanted.app(app)
        await asyncio.to_thread(self._records.change, app, lambda record: _good(record, step.version, wanted))
        log.info("version is good app=%s version=%s", app, step.version.version)
        await self.clean_images()

    async def forget(self, app: str) -> None:
        """Nothing of it is left but its volumes."""
        await asyncio.to_thread(self._records.remove, app)
        await self.clean_images()

    async def clean_images(self) -> None:
        """Remove the images that nothing runs or may go back to."""
        await asyncio.to_thread(self._images.remove_unreferenced, self._wanted.kept_images())


def _failed(record: AppRecord, step: MarkFailed) -> AppRecord:
    return replace(record, failed_digest=step.version.digest, failed_reason=step.reason)


def _good(record: AppRecord, version: App, wanted: App | None) -> AppRecord:
    """The record once `version` has passed. What failed stays known while it is what is desired."""
    rolled_back = wanted is not None and record.failed_digest == wanted.digest != version.digest
    failed = (record.failed_digest, record.failed_reason) if rolled_back else ("", "")
    before = record.good if record.good and record.good.digest != version.digest else record.previous
    return replace(record, good=version, previous=before, failed_digest=failed[0], failed_reason=failed[1])
