"""Accepted means committed: what was answered 2xx with `durable: true` is in the outbox once, however the agent ends.

The rooms of the data line run as a process (tests/site/esdk_process.py) and are killed with SIGKILL again and again, at
moments that a seed chooses, while an APP publishes through `esdk`.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import esdk
from gateway.model.tags import Sample
from gateway.outbox.outbox import Outbox
from tests.site.processes import Daemon, accepts_unix

KILLS = 8


class Publisher:
    """An APP that counts: number after number, each durable, also while nobody answers."""

    def __init__(self, path: Path) -> None:
        self._gateway = esdk.Gateway(str(path), timeout_s=5)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.published = 0
        self.accepted = 0
        """Numbers below this one were answered."""
        self.refusals = 0

    def _run(self) -> None:
        while not self._stop.is_set():
            sample = {"tag": "meter/count", "value": self.published}
            self.published += 1
            if self._gateway.tags.publish([sample], durable=True):
                self.accepted = self.published
            else:
                self.refusals += 1
                time.sleep(0.01)

    def finish(self) -> None:
        """Send what still waits; nothing may have been dropped meanwhile."""
        self._stop.set()
        self._thread.join()
        deadline = time.monotonic() + 10
        while not self._gateway.tags.flush():
            assert time.monotonic() < deadline, "the gateway never took the rest"
            time.sleep(0.05)
        assert self._gateway.tags.dropped == 0

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._gateway.close()


@pytest.fixture
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    yield made
    shutil.rmtree(made)


def stored(directory: Path) -> list[object]:
    """The values in the outbox, in the order of their sequence numbers."""

    async def read() -> list[object]:
        outbox = Outbox(directory / "outbox.sqlite", "1a2b", 1 << 24, 0.0)
        await outbox.open()
        try:
            found: list[object] = []
            after = 0
            while batches := await outbox.pending("telemetry", after, 100):
                for batch in batches:
                    found += [record.value for record in batch.records if isinstance(record, Sample)]
                after = batches[-1].id.last
            return found
        finally:
            await outbox.close()

    return asyncio.run(read())


def test_what_was_answered_is_there_once_after_many_sudden_ends(directory: Path) -> None:
    chance = random.Random(7)
    endpoint = directory / "rooms" / "app.main.1" / "esdk.sock"
    argv = [sys.executable, "-m", "tests.site.esdk_process", str(directory / "rooms"), "app"]
    rooms = Daemon(argv, directory / "log")
    rooms.start(lambda: accepts_unix(endpoint))
    try:
        with Publisher(endpoint) as publisher:
            for _ in range(KILLS):
                time.sleep(chance.uniform(0.1, 0.7))
                rooms.kill()
                answered = publisher.accepted
                assert stored(directory / "rooms")[:answered] == list(range(answered))
                rooms.start(lambda: accepts_unix(endpoint))
            time.sleep(0.5)
            publisher.finish()
        assert publisher.accepted > KILLS
        assert publisher.refusals > 0, "the agent was never away for it"
    finally:
        rooms.stop()
    assert stored(directory / "rooms") == list(range(publisher.published))
