"""Keeps the parts of the agent running: one task each, restarted with a backoff when it fails, cancelled to stop.

A part that fails never takes the others down: a gateway whose uplink has a bug still switches its outputs.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from typing import Protocol

from gateway.lifecycle.backoff import Backoff

log = logging.getLogger(__name__)

RESTART = Backoff(first_s=0.5, cap_s=30.0)
STEADY_S = 60.0
"""A part that ran this long starts again with the shortest delay."""


class Part(Protocol):
    """A long-running piece of the agent. `run()` ends only by being cancelled; it then releases what it holds."""

    @property
    def name(self) -> str: ...

    async def run(self) -> None: ...


async def supervise(parts: Sequence[Part], stop: asyncio.Event) -> None:
    """Run all parts until `stop` is set, then cancel them in reverse order, each before the one that it stands on."""
    tasks = [asyncio.create_task(_keep_running(part), name=part.name) for part in parts]
    try:
        await stop.wait()
    finally:
        for task in reversed(tasks):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _keep_running(part: Part) -> None:
    failures = 0
    while True:
        started = time.monotonic()
        try:
            await part.run()
            log.error("part ended by itself part=%s", part.name)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("part failed part=%s", part.name)
        failures = 1 if time.monotonic() - started > STEADY_S else failures + 1
        await asyncio.sleep(RESTART.delay_s(failures, random.random))
