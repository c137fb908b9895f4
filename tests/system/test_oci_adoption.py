"""What the OCI engine of the next agent makes of containers that the last one left in every state, on real runtimes."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.engines.base import ContainerSpec, ContainerState
from gateway.engines.oci.engine import OciEngine
from gateway.host import mounts, pids
from tests.conformance.rootfs import IMAGE, BusyboxImage

SPEC = ContainerSpec("app", "main", 1, "sha256:1", IMAGE)


@pytest.fixture
def run_directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_what_was_cut_short_is_cleared_away_and_what_runs_is_seen(
    run_directory: Path, tmp_path: Path, runtime: str
) -> None:
    image = BusyboxImage(tmp_path)
    containers = run_directory / "containers"

    def make() -> OciEngine:
        return OciEngine(run_directory, image, [runtime], 64 << 10)

    async def first() -> dict[int, int]:
        engine = make()
        await engine.prepare()
        for generation in (1, 2, 3, 4):
            await engine.create(replace(SPEC, generation=generation))
            if generation != 4:
                await engine.start(f"app.main.{generation}")
        found = {status.generation: status.pid for status in await engine.list()}
        await engine.close()
        return found

    def as_killed() -> None:
        """In the middle of a creation, at three places; and after a newer agent, which wrote another record."""
        (containers / "app.main.1" / "process.json").unlink()  # it runs, and nobody wrote down who it is
        record = containers / "app.main.2" / "record.json"
        record.write_bytes(record.read_bytes().replace(b'"schema":1', b'"schema":2'))
        (containers / "app.main.5").mkdir()
        for name in ("rootfs", "upper", "work"):
            (containers / "app.main.6" / name).mkdir(parents=True)

    async def second(processes: dict[int, int]) -> None:
        unrecorded = pids.identify(processes[1])
        engine = make()
        await engine.prepare()
        try:
            assert {s.generation: (s.state, s.digest) for s in await engine.list()} == {
                2: (ContainerState.RUNNING, ""),  # its digest matches nothing: it will be replaced, not doubled
                3: (ContainerState.RUNNING, "sha256:1"),
                4: (ContainerState.CREATED, "sha256:1"),
            }
            assert not unrecorded.alive()
            assert sorted(path.name for path in containers.iterdir()) == ["app.main.2", "app.main.3", "app.main.4"]
            assert {s.generation: s.pid for s in await engine.list()}[3] == processes[3]
            await engine.stop("app.main.2", 0.2)
            await engine.remove("app.main.2")
            await engine.start("app.main.4")
        finally:
            await engine.teardown()
        assert mounts.mounted_below(run_directory) == []

    processes = asyncio.run(first())
    as_killed()
    asyncio.run(second(processes))
