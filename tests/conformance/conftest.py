"""Every engine that this machine can run, each with a run directory of its own, torn down after each test."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from gateway.engines.base import Engine
from gateway.engines.oci.engine import OciEngine
from tests.conformance.rootfs import BusyboxImage

LOG_BYTES = 64 << 10
Scenario = Callable[[Engine], Awaitable[None]]
Make = Callable[[Path, BusyboxImage], Engine]

ENGINES: Final[dict[str, Make]] = {
    "crun": lambda run, image: OciEngine(run, image, ["crun"], LOG_BYTES),
    "runc": lambda run, image: OciEngine(run, image, ["runc"], LOG_BYTES),
}
"""How to make each: the parameters of every test that wants an engine."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "make_engine" in metafunc.fixturenames:
        metafunc.parametrize("make_engine", list(ENGINES), indirect=True)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> BusyboxImage:
    return BusyboxImage(tmp_path_factory.mktemp("image"))


@pytest.fixture
def make_engine(request: pytest.FixtureRequest, image: BusyboxImage) -> Iterator[Callable[[], Engine]]:
    """Makes engines that share one run directory, as a restarted agent does."""
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    yield lambda: ENGINES[request.param](directory, image)
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
