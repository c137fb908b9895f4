"""Every engine that this machine can run, each with a run directory of its own, torn down after each test.

A test that is marked is not for every engine: see WITHOUT, and docs/engines.md for what each cannot do. Those
of the `short_form` are run on the arm64 board, too, where everything takes ten times longer.
"""

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
from gateway.engines.docker.engine import DockerEngine
from gateway.engines.lxc.engine import LxcEngine
from gateway.engines.oci.engine import OciEngine
from gateway.engines.simulated.engine import SimulatedEngine
from gateway.engines.simulated.machine import Machine
from tests.conformance.rootfs import BusyboxImage
from tests.conformance.scripts import behaviour
from tests.site.daemons import ApiDaemon, DockerDaemon, PodmanService

LOG_BYTES = 64 << 10
Scenario = Callable[[Engine], Awaitable[None]]
Make = Callable[[], Engine]
How = Callable[[Path, BusyboxImage], Make]


def _simulated(run: Path, image: BusyboxImage) -> Make:
    machine = Machine(behaviour)
    return lambda: SimulatedEngine(machine)


ENGINES: Final[dict[str, How]] = {
    "crun": lambda run, image: lambda: OciEngine(run, image, ["crun"], LOG_BYTES),
    "runc": lambda run, image: lambda: OciEngine(run, image, ["runc"], LOG_BYTES),
    "lxc": lambda run, image: lambda: LxcEngine(run, image, LOG_BYTES),
    "simulated": _simulated,
}
"""By name, what makes engines that find each other's containers: the parameters of every test that wants one."""
WITHOUT: Final = {
    "kernel": ("simulated",),
    "daemon": tuple(ENGINES),
    "bounded_root": ("simulated", "docker", "podman"),
    "log_ring": ("simulated", "podman"),
}
"""By marker of a test, the engines that it is not for."""


def pytest_configure(config: pytest.Config) -> None:
    for line in (
        "kernel: shows what only an engine with a kernel below can do",
        "daemon: is about what lies in the store of a daemon",
        "bounded_root: for engines that bound what is written to a root file system",
        "log_ring: for engines whose log keeps a whole file when it begins another",
        "short_form: of the suite, for machines that are very slow",
    ):
        config.addinivalue_line("markers", line)


DAEMONS: Final[dict[str, Callable[[], ApiDaemon]]] = {"docker": DockerDaemon, "podman": PodmanService}
"""The same for engines that need a daemon: one for all tests."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" in metafunc.fixturenames:  # by scope: the tests of one engine run one after the other
        marks = {mark.name for mark in metafunc.definition.iter_markers()}
        without = {name for mark in marks & set(WITHOUT) for name in WITHOUT[mark]}
        names = [name for name in (*ENGINES, *DAEMONS) if name not in without]
        metafunc.parametrize("engine", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> str:
    """The name of the engine of this parameter."""
    return str(request.param)


@pytest.fixture(scope="session")
def daemon(engine: str) -> Iterator[ApiDaemon | None]:
    """Its daemon, if it needs one."""
    if engine not in DAEMONS:
        yield None
        return
    with DAEMONS[engine]() as daemon:
        yield daemon


@pytest.fixture(scope="session")
def how(engine: str, daemon: ApiDaemon | None) -> How:
    """How to make the engine of this parameter."""
    if daemon is None:
        return ENGINES[engine]
    socket = daemon.socket
    return lambda run, image: lambda: DockerEngine(run, socket, image, LOG_BYTES)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> BusyboxImage:
    return BusyboxImage(tmp_path_factory.mktemp("image"))


@pytest.fixture
def make_engine(how: How, image: BusyboxImage) -> Iterator[Callable[[], Engine]]:
    """Makes engines that share one run directory, as a restarted agent does."""
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    yield how(directory, image)
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
