"""Every engine that this machine can run, each with a run directory of its own, torn down after each test."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.engines.base import Engine
from gateway.engines.oci.engine import OciEngine
from tests.conformance.rootfs import BusyboxImage

LOG_BYTES = 64 << 10
Scenario = Callable[[Engine], Awaitable[None]]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> BusyboxImage:
    return BusyboxImage(tmp_path_factory.mktemp("image"))


@pytest.fixture(params=["crun", "runc"])
def make_engine(request: pytest.FixtureRequest, image: BusyboxImage) -> Iterator[Callable[[], Engine]]:
    """Makes engines that share one run directory, as a restarted agent does."""
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    yield lambda: OciEngine(directory, image, [request.param], LOG_BYTES)
    shutil.rmtree(directory)


@asynccontextmanager
async def _prepared(make: Callable[[], Engine]) -> AsyncIterator[Engine]:
    engine = make()
    await engine.prepare()
    try:
        yield engine
    finally:
        await engine.teardown()


@pytest.fixture
def run(make_engine: Callable[[], Engine]) -> Callable[[Scenario], None]:
    """Run a scenario on a prepared engine."""

    def runner(scenario: Scenario) -> None:
        async def main() -> None:
            async with asyncio.timeout(60), _prepared(make_engine) as engine:
                await scenario(engine)

        asyncio.run(main())

    return runner
