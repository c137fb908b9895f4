"""What only engine lxc does: system containers, a created one that waits, links in images, nothing left of lxc."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.engines.base import ContainerSpec, ContainerState, ContainerStatus, HostContainer, Mount
from gateway.engines.lxc.engine import LxcEngine
from gateway.engines.lxc.tools import LOCKS
from gateway.errors import Conflict, NotSupported, ToolFailed
from gateway.host import pids
from gateway.model.app import TmpfsMount
from tests.conformance.rootfs import IMAGE, BusyboxImage

SPEC = ContainerSpec("app", "main", 1, "sha256:1", IMAGE)
Make = Callable[[], LxcEngine]


@pytest.fixture
def image(tmp_path: Path) -> BusyboxImage:
    """An image with an init, and with links that lead out of it."""
    image = BusyboxImage(tmp_path)
    for name in ("sbin", "var"):
        (image.layer / name).mkdir()
    (image.layer / "sbin/init").symlink_to("../bin/busybox")
    (image.layer / "etc/inittab").write_text("::sysinit:/bin/echo up and running\n::respawn:/bin/sleep 1000\n")
    (image.layer / "var/run").symlink_to("/run")
    (image.layer / "out").symlink_to("../../../../../../..")
    return image


@pytest.fixture
def make(image: BusyboxImage) -> Iterator[Make]:
    run = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    yield lambda: LxcEngine(run, image, 64 << 10)
    assert not (LOCKS / str(run).lstrip("/")).exists(), "lxc's locks of our containers are left"
    assert not list(Path("/sys/fs/cgroup").glob("**/lxc.pivot")), "a cgroup that lxc made is left"
    shutil.rmtree(run)


def with_engine(make: Make, scenario: Callable[[LxcEngine], Awaitable[None]], *, last: bool = True) -> None:
    async def main() -> None:
        engine = make()
        await engine.prepare()
        try:
            async with asyncio.timeout(60):
                await scenario(engine)
        finally:
            await (engine.teardown() if last else engine.close())

    asyncio.run(main())


async def only(engine: LxcEngine) -> ContainerStatus:
    (status,) = await engine.list()
    return status


async def ended(engine: LxcEngine) -> ContainerStatus:
    async for _ in engine.exits():
        if (status := await only(engine)).state is ContainerState.EXITED:
            return status
    raise AssertionError("no news")


async def said(engine: LxcEngine) -> list[str]:
    return [line.text async for line in engine.logs(SPEC.id, tail=100, follow=False)]


SYSTEM = replace(SPEC, command=("/sbin/init",), cap_add=("SYS_BOOT",), stop_signal="SIGUSR2")


def test_a_system_container_has_an_init_and_a_console(make: Make) -> None:
    async def scenario(engine: LxcEngine) -> None:
        await engine.create(SYSTEM)
        await engine.start(SPEC.id)
        async for line in engine.logs(SPEC.id, tail=10, follow=True):
            if line.text.strip() == "up and running":
                break
        assert (await engine.exec(SPEC.id, ["grep", "-q", "sleep", "/proc/2/comm", "/proc/3/comm"], 5.0)).exit_code == 0
        await engine.stop(SPEC.id, 20.0)  # busybox switches off on SIGUSR2
        status = await only(engine)
        assert (status.state, status.exit_code) == (ContainerState.EXITED, 130)

    with_engine(make, scenario)


def test_a_reboot_from_inside_is_an_end(make: Make) -> None:
    async def scenario(engine: LxcEngine) -> None:
        await engine.create(SYSTEM)
        await engine.start(SPEC.id)
        await asyncio.sleep(0.3)
        await engine.kill(SPEC.id, "SIGTERM")  # busybox reboots
        assert (await ended(engine)).state is ContainerState.EXITED

    with_engine(make, scenario)


def test_a_created_container_waits_also_for_the_next_agent(make: Make) -> None:
    async def first(engine: LxcEngine) -> None:
        await engine.create(replace(SPEC, command=("sh", "-c", "echo begun; sleep 1000")))
        with pytest.raises(Conflict):
            await engine.create(SPEC)

    async def second(engine: LxcEngine) -> None:
        status = await only(engine)
        assert status.state is ContainerState.CREATED
        assert await said(engine) == []
        await engine.start(SPEC.id)
        assert (await only(engine)).pid == status.pid
        with pytest.raises(Conflict, match="started already"):
            await engine.start(SPEC.id)

    with_engine(make, first, last=False)
    with_engine(make, second)


def test_a_half_created_container_is_cleared_away_by_the_next_agent(make: Make, tmp_path: Path) -> None:
    left: list[pids.ProcessId] = []

    async def first(engine: LxcEngine) -> None:
        await engine.create(SPEC)
        directory = engine.directory(SPEC.id)
        left.extend(pids.identify(int((directory / name).read_text())) for name in ("pidfile", "conmon.pid"))
        (directory / "process.json").unlink()  # as if the agent had been killed a moment before it wrote that

    async def second(engine: LxcEngine) -> None:
        assert await engine.list() == []
        assert not any(process.alive() for process in left)

    with_engine(make, first, last=False)
    with_engine(make, second)


def test_a_created_container_is_killed_and_removed(make: Make) -> None:
    async def scenario(engine: LxcEngine) -> None:
        await engine.create(SPEC)
        await engine.kill(SPEC.id)
        assert (await ended(engine)).state is ContainerState.EXITED
        await engine.remove(SPEC.id)
        await engine.create(SPEC)
        await engine.remove(SPEC.id)
        assert await engine.list() == []

    with_engine(make, scenario)


def test_lxcs_own_words_say_why_it_does_not_start(make: Make) -> None:
    async def scenario(engine: LxcEngine) -> None:
        await engine.create(replace(SPEC, command=("/no/such/program",)))
        with pytest.raises(ToolFailed, match='No such file or directory - Failed to exec "/no/such/program"'):
            await engine.start(SPEC.id)
        status = await only(engine)
        assert (status.state, status.started_ns) == (ContainerState.EXITED, 0)

    with_engine(make, scenario)


def test_links_of_the_image_lead_nowhere_outside(make: Make, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/file").write_text("from outside\n")
    mounts = (
        Mount(tmp_path / "source", "/var/run/esdk", read_only=True),
        Mount(tmp_path / "source/file", "/out/fg-lxc-test/file"),
        Mount(tmp_path / "source", "/scratch/below/it"),
    )
    script = "cat /run/esdk/file /fg-lxc-test/file /scratch/below/it/file"

    async def scenario(engine: LxcEngine) -> None:
        spec = replace(SPEC, command=("sh", "-c", script), mounts=mounts, tmpfs=(TmpfsMount("/scratch"),))
        await engine.create(spec)
        await engine.start(SPEC.id)
        assert (await ended(engine)).exit_code == 0
        assert await said(engine) == ["from outside"] * 3

    with_engine(make, scenario)
    assert not Path("/fg-lxc-test").exists()


def test_a_device_and_a_directory_for_commands(make: Make, tmp_path: Path) -> None:
    device = tmp_path / "line"
    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 7))  # /dev/full by another name

    async def scenario(engine: LxcEngine) -> None:
        await engine.create(replace(SPEC, devices=(str(device),), working_dir="/srv/of the app"))
        await engine.start(SPEC.id)
        assert (await engine.exec(SPEC.id, ["pwd"], 5.0)).output == b"/srv/of the app\n"
        assert (await engine.exec(SPEC.id, ["ls", "/proc/1/fd"], 5.0)).output == b"0\n1\n2\n", (
            "nothing of conmon's or lxc's"
        )
        full = await engine.exec(SPEC.id, ["sh", "-c", f"echo x >{device}"], 5.0)
        assert b"No space left" in full.output

    with_engine(make, scenario)


def test_it_is_a_host_but_runs_no_guests(make: Make) -> None:
    async def scenario(engine: LxcEngine) -> None:
        with pytest.raises(NotSupported, match="engine lxc"):
            await engine.create(replace(SPEC, host=HostContainer("app.other.1", 1)))
        assert await engine.list() == []

    with_engine(make, scenario)
