"""What is written down of versions: which was good, which failed, which APP is gone; and which images go with that."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Protocol

from gateway.reconcile.records import AppRecords
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
        record = self._records.get(app)
        if isinstance(step, MarkGood):
            wanted = self._wanted.app(app)
            rolled_back = wanted is not None and record.failed_digest == wanted.digest != step.version.digest
            failed = (record.failed_digest, record.failed_reason) if rolled_back else ("", "")
            record = replace(record, good=step.version, failed_digest=failed[0], failed_reason=failed[1])
            log.info("version is good app=%s version=%s", app, step.version.version)
        else:
            record = replace(record, failed_digest=step.version.digest, failed_reason=step.reason)
            log.warning("rolling back app=%s version=%s reason=%s", app, step.version.version, step.reason)
        await asyncio.to_thread(self._records.put, app, record)
        if isinstance(step, MarkGood):
            await self._clean_images()

    async def forget(self, app: str) -> None:
        """Nothing of it is left but its volumes."""
        await asyncio.to_thread(self._records.remove, app)
        await self._clean_images()

    async def _clean_images(self) -> None:
        await asyncio.to_thread(self._images.remove_unreferenced, self._wanted.kept_images())
