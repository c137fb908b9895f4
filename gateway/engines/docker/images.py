"""Images of the daemon: handed over from our own store, which has pulled and verified them, and removed with it.

An image is `localhost/<instance>:<hex of its configuration's digest>` there. The daemon's store does not survive power
cuts: it can hold files that were never written under a record that says complete. So an image gets this name only when
everything that was loaded before it is on the disk; one that never got it is loaded again, from our blobs, offline.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator
from typing import Any, Final

from gateway.engines.base import ExportSource, ImageExport
from gateway.engines.docker.container import LoadedImage
from gateway.engines.docker.http import Api
from gateway.errors import Conflict, Corrupted, NotFound, ToolFailed, Unavailable

log = logging.getLogger(__name__)

LOAD_TIMEOUT_S: Final = 1800.0
"""The largest images on the slowest eMMC."""
_LOADING: Final = "-loading"


class Images:
    """One agent's images with one daemon."""

    def __init__(self, api: Api, source: ExportSource, group: str) -> None:
        self._api = api
        self._source = source
        self._repository = f"localhost/{group}"
        self._loading = asyncio.Lock()
        self._kept: frozenset[str] | None = None
        """What our store had at the last sweep; None: sweep again."""

    async def ensure(self, image: str, export: ImageExport) -> LoadedImage:
        """The image, which the daemon has then. Corrupted: our own copy is damaged; it is pulled again."""
        name = self._name(export.config_digest)
        async with self._loading:  # two at a time would only take twice the disk
            found = await self._find(name, export)
            if found is None:
                await self._load(image, name, export)
                found = await self._find(name, export)
        if found is None:
            raise Unavailable(f"cannot use {image}: the engine has lost it at once")
        return found

    async def forget_unfinished(self) -> None:
        """Remove what was loaded and never named: nobody knows how much of it is on the disk."""
        for name in await self._names():
            if name.endswith(_LOADING):
                log.warning("removing an image whose loading was cut short image=%s", name)
                await self._remove(name)

    async def sweep(self) -> bool:
        """Remove what is no longer in our store. What is in use stays. False: nothing has changed, and no cost."""
        kept = self._source.exports()
        if kept == self._kept or self._loading.locked():
            return False
        self._kept = kept
        wanted = {self._name(digest) for digest in kept}
        for name in await self._names():
            if name in wanted:
                continue
            if await self._remove(name):
                log.info("image removed from the engine name=%s", name)
            else:
                self._kept = None  # a container still uses it: again later
        return True

    async def remove_all(self) -> None:
        for name in await self._names():
            await self._remove(name)

    def _name(self, config_digest: str) -> str:
        return f"{self._repository}:{config_digest.removeprefix('sha256:')}"

    async def _names(self) -> list[str]:
        found = await self._api.call("GET", "/images/json")
        tags = [tag for image in found or () for tag in image.get("RepoTags") or ()]
        return [tag for tag in tags if tag.startswith(f"{self._repository}:")]

    async def _find(self, name: str, export: ImageExport) -> LoadedImage | None:
        """By its content, not by its name alone."""
        try:
            found = await self._api.call("GET", f"/images/{name}/json")
        except NotFound:
            return None
        if tuple(found.get("RootFS", {}).get("Layers") or ()) != export.diff_ids:
            return None
        probe = (found.get("Config") or {}).get("Healthcheck") or {}
        return LoadedImage(name, has_probe=bool(probe.get("Test")))

    async def _remove(self, name: str) -> bool:
        """False when it cannot go now."""
        try:
            await self._api.call("DELETE", f"/images/{name}")
        except NotFound:
            return True
        except (Conflict, ToolFailed) as failure:
            log.debug("image stays name=%s cause=%s", name, failure)
            return False
        return True

    async def _load(self, image: str, name: str, export: ImageExport) -> None:
        unfinished = name + _LOADING
        log.info("giving an image to the engine image=%s", image)
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                async with self._api.open(
                    "POST", "/images/load", {"quiet": "1"}, upload=export.archive(unfinished)
                ) as told:
                    await _raise_error(told, image)
            if await self._find(unfinished, export) is None:
                raise ToolFailed(("docker", "load", image), 1, "the image that it has then is another one")
        except TimeoutError:
            raise Unavailable(f"cannot load {image}: not done after {LOAD_TIMEOUT_S:g} s") from None
        except (Corrupted, ToolFailed, OSError):
            await asyncio.to_thread(self._source.forget_damaged, image)
            raise
        await asyncio.to_thread(os.sync)
        repository, _, tag = name.rpartition(":")
        await self._api.call("POST", f"/images/{unfinished}/tag", {"repo": repository, "tag": tag})
        await self._remove(unfinished)


async def _raise_error(told: AsyncIterator[bytes], image: str) -> None:
    """Progress is a line of JSON each; the status was 200 before the daemon knew how it would end."""
    answer = b""
    async for piece in told:
        answer = (answer + piece)[-(1 << 16) :]
    for line in answer.splitlines():
        try:
            entry: Any = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and (cause := entry.get("error")):
            raise ToolFailed(("docker", "load", image), 1, str(cause))
