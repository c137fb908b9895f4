"""Volumes of APPs that are gone: `<state>/volumes/{app}/{volume}` stays until somebody purges it."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

from gateway.errors import NotFound


async def purge_volumes(directory: Path, app: str) -> None:
    """Remove all volumes of the APP. NotFound.

    Renamed first, to what is no APP's name: one that is deployed meanwhile begins with none, and after a sudden end the
    next purge goes on with what is left.
    """
    if (directory / app).is_dir():
        (directory / app).rename(directory / f".{app}.{time.time_ns()}")
    doomed = list(directory.glob(f".{app}.*"))
    if not doomed:
        raise NotFound(f"cannot purge {app}: it has no volumes here")
    for tree in doomed:
        await asyncio.to_thread(shutil.rmtree, tree)
