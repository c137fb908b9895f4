"""Containers that live in another container: what they share with it and each other, and what is each one's own."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gateway.engines.base import ContainerSpec, ContainerState, ContainerStatus, Engine, HostContainer, Mount
from gateway.engines.oci import joining
from gateway.engines.oci.engine import OciEngine
from gateway.errors import FieldgateError, NotPermitted
from gateway.model.app import Limits, TmpfsMount
from tests.conformance.conftest import ENGINES, How
from tests.conformance.rootfs import IMAGE, PACKAGE, BusyboxImage

pytestmark = pytest.mark.kernel

Scenario = Callable[["Pair"], Awaitable[None]]
Run = Callable[[Scenario], None]
Make = Callable[[], "Pair"]
HOST = ContainerSpec("site", "main", 1, "sha256:1", IMAGE, command=("sh", "-c", "while :; do sleep 1; done"))


@dataclass(frozen=True)
class Pair:
    """Who runs the host container, and who runs what lives in it: the OCI engine, perhaps the same one."""

    hosts: Engine
    guests: Engine

    @property
    def engines(self) -> list[Engine]:
        return [self.guests, *([self.hosts] if self.hosts is not self.guests else [])]

    async def list(self) -> list[ContainerStatus]:
        return [entry for engine in self.engines for entry in await engine.list()]

    async def status(self, container: str) -> ContainerStatus:
        return next(entry for entry in await self.list() if entry.id == container)


@pytest.fixture
def make_pair(how: How, image: BusyboxImage) -> Iterator[Make]:
    """Makes pairs that share their run directories, as a restarted agent does."""
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    hosts, guests = how(directory / "hosts", image), ENGINES["crun"](directory / "guests", image)
    for name in ("hosts", "guests"):
        (directory / name).mkdir()

    def make() -> Pair:
        engine = hosts()
        return Pair(engine, engine if isinstance(engine, OciEngine) else guests())

    yield make
    shutil.rmtree(directory)


@asynccontextmanager
async def prepared(make: Make) -> AsyncIterator[Pair]:
    pair = make()
    async with asyncio.timeout(60):
        for engine in pair.engines:
            await engine.prepare()
        try:
            yield pair
        finally:
            for engine in pair.engines:
                await engine.teardown()


@pytest.fixture
def run(make_pair: Make) -> Run:
    def runner(scenario: Scenario) -> None:
        async def main() -> None:
            async with prepared(make_pair) as pair:
                await scenario(pair)

        asyncio.run(main())

    return runner


async def start_host(pair: Pair, **changes: object) -> HostContainer:
    spec = replace(HOST, **changes)  # type: ignore[arg-type]
    await pair.hosts.create(spec)
    await pair.hosts.start(spec.id)
    return HostContainer(spec.id, (await pair.status(spec.id)).pid)


def guest(host: HostContainer, script: str, app: str = "one", **changes: object) -> ContainerSpec:
    spec = ContainerSpec(app, "main", 1, "sha256:2", PACKAGE, command=("sh", "-c", script), host=host)
    return replace(spec, **changes)  # type: ignore[arg-type]


async def launch(pair: Pair, spec: ContainerSpec) -> ContainerStatus:
    await pair.guests.create(spec)
    await pair.guests.start(spec.id)
    return await pair.status(spec.id)


async def ended(pair: Pair, container: str) -> ContainerStatus:
    async with asyncio.timeout(20):
        async for _ in pair.guests.exits():
            if (entry := await pair.status(container)).state is ContainerState.EXITED:
                return entry
    raise AssertionError("no news")


async def output(pair: Pair, spec: ContainerSpec) -> list[str]:
    await launch(pair, spec)
    await ended(pair, spec.id)
    return [line.text async for line in pair.guests.logs(spec.id, tail=100, follow=False)]


def test_processes_network_names_and_files_are_shared(run: Run) -> None:
    async def scenario(pair: Pair) -> None:
        host = await start_host(pair, command=("sh", "-c", "echo of the host > /etc/note; while :; do sleep 1; done"))
        script = "cat /proc/1/cmdline; echo; cat /etc/note /etc/hosts; sleep 1000"
        pid = (await launch(pair, guest(host, script))).pid
        for kind in ("pid", "net", "ipc", "uts"):
            assert os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/{host.pid}/ns/{kind}"), kind
        assert os.readlink(f"/proc/{pid}/ns/mnt") != os.readlink(f"/proc/{host.pid}/ns/mnt")
        await asyncio.sleep(0.3)
        lines = [line.text async for line in pair.guests.logs("one.main.1", tail=100, follow=False)]
        assert lines[0].startswith("sh\0-c\0echo of the host")
        names = Path(f"/proc/{host.pid}/root/etc/hosts").read_text().splitlines()
        assert lines[1:] == ["of the host", *names]

    run(scenario)


def test_package_user_and_endpoint_are_its_own(run: Run, tmp_path: Path) -> None:
    def endpoint(name: str) -> Mount:
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / name).touch()
        return Mount(tmp_path / name, "/run/esdk", read_only=True)

    async def scenario(pair: Pair) -> None:
        host = await start_host(pair, mounts=(endpoint("host"),))
        other = await launch(pair, guest(host, "sleep 1000", "other", mounts=(endpoint("other"),)))
        look = "hello; pwd; ls /opt/apps /opt/apps/*; ls /run/esdk; id -u; grep NSpid /proc/self/status"
        inside = Path(f"/proc/{other.pid}/status").read_text().partition("NSpid:")[2].split()[1]
        spy = "; ".join(f"ls /proc/{pid}/root/run/esdk || echo no; kill -9 {pid} || echo no" for pid in ("1", inside))
        script = f"{look}; {spy}; touch /opt/apps/x || echo no"
        lines = await output(pair, guest(host, script, mounts=(endpoint("one"),)))
        here = "/opt/apps/one/main"
        own = str(joining.own_uid("one", "main"))
        assert lines[:8] == [f"hello from {here}", here, "/opt/apps:", "one", "", "/opt/apps/one:", "main", "one"]
        assert lines[8] == own
        assert lines.count("no") == 5, "neither the others' endpoints, nor their processes, nor another place"
        assert not {"host", "other"} & set(lines)
        assert (await pair.status(other.id)).state is ContainerState.RUNNING
        assert joining.own_uid("other", "main") != int(own)

    run(scenario)


def test_memory_of_one_is_not_the_others_fault(run: Run) -> None:
    async def scenario(pair: Pair) -> None:
        host = await start_host(pair, limits=Limits(memory_bytes=16 << 20))
        good = await launch(pair, guest(host, "sleep 1000", "good", limits=Limits(memory_bytes=16 << 20, pids=5)))
        hungry = guest(host, "exec dd if=/dev/zero of=/dev/null bs=100M", limits=Limits(memory_bytes=24 << 20))
        await launch(pair, hungry)
        end = await ended(pair, hungry.id)
        assert (end.oom_killed, end.exit_code, end.host_ended) == (True, 137, False)
        for container, pid in ((host.container, host.pid), (good.id, good.pid)):
            now = await pair.status(container)
            assert (now.state, now.pid, now.oom_killed) == (ContainerState.RUNNING, pid, False)

    run(scenario)


def test_it_is_restarted_alone_and_leaves_no_process_behind(run: Run) -> None:
    async def scenario(pair: Pair) -> None:
        host = await start_host(pair)
        good = await launch(pair, guest(host, "sleep 1000", "good"))
        bad = guest(host, "sleep 987 & sleep 0.3; exit 3")
        await launch(pair, bad)
        end = await ended(pair, bad.id)
        assert (end.exit_code, end.oom_killed, end.host, end.host_ended) == (3, False, host.container, False)
        await launch(pair, guest(host, "sleep 1000", generation=2))
        await pair.guests.remove(bad.id)
        inside = await pair.guests.exec("one.main.2", ["sh", "-c", "cat /proc/[0-9]*/cmdline; id -u"], 5.0)
        assert b"sleep\x00987" not in inside.output
        assert inside.output.endswith(b"%d\n" % joining.own_uid("one", "main"))
        await pair.guests.stop("one.main.2", 0.5)
        assert (await pair.status("one.main.2")).exit_code in (137, 143)
        assert (await pair.status(good.id)).pid == good.pid

    run(scenario)


def test_a_read_only_host_is_read_only_for_all(run: Run, tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        host = await start_host(pair, read_only=True)
        script = "touch /etc/x || echo refused; touch /data/y; touch /scratch/z && echo fine; hello"
        mounts, tmpfs = (Mount(tmp_path, "/data"),), (TmpfsMount("/scratch"),)
        lines = await output(pair, guest(host, script, mounts=mounts, tmpfs=tmpfs))
        assert {"refused", "fine", "hello from /opt/apps/one/main"} <= set(lines)
        await pair.guests.remove("one.main.1")
        free = await start_host(pair, generation=2)
        assert "refused" in await output(pair, guest(free, "touch /tmp/x || echo refused", read_only=True))

    tmp_path.chmod(0o777)
    run(scenario)
    assert (tmp_path / "y").stat().st_uid == joining.own_uid("one", "main")


def test_nobody_is_root_or_another_in_there(run: Run) -> None:
    async def scenario(pair: Pair) -> None:
        host = await start_host(pair, user="app")
        await launch(pair, guest(host, "sleep 1000", "first", user="30000"))
        for user in ("0", "root", "app", "30000"):
            with pytest.raises(NotPermitted, match="cannot create one"):
                await pair.guests.create(guest(host, "sleep 1000", user=user))
        assert len(await pair.list()) == 2
        twins = [guest(host, "sleep 1000", app, user="30001") for app in ("one", "two")]
        made = await asyncio.gather(*(pair.guests.create(twin) for twin in twins), return_exceptions=True)
        assert [type(result) for result in made if result is not None] == [NotPermitted], "also at the same moment"
        assert len(await pair.list()) == 3

    run(scenario)


def test_the_end_of_the_host_is_the_end_of_all(run: Run) -> None:
    async def scenario(pair: Pair) -> None:
        host = await start_host(pair)
        specs = [guest(host, "trap '' TERM; sleep 1000", app) for app in ("one", "two")]
        for spec in specs:
            await launch(pair, spec)
        await pair.hosts.kill(host.container)
        for spec in specs:
            end = await ended(pair, spec.id)
            assert (end.exit_code, end.host_ended) == (137, True)
        with pytest.raises(FieldgateError):
            await pair.guests.create(guest(host, "sleep 1000", "late"))
        assert len(await pair.list()) == 3

    run(scenario)


def test_the_next_agent_finds_them(make_pair: Make) -> None:
    async def first() -> dict[str, int]:
        pair = make_pair()
        for engine in pair.engines:
            await engine.prepare()
        host = await start_host(pair)
        await launch(pair, guest(host, "sleep 1000", "one"))
        await launch(pair, guest(host, "sleep 0.5; sleep 986 & exit 5", "two"))
        pids = {entry.id: entry.pid for entry in await pair.list()}
        for engine in pair.engines:
            await engine.close()
        return pids

    async def second(pids: dict[str, int]) -> None:
        await asyncio.sleep(0.8)
        async with prepared(make_pair) as pair:
            found = {entry.id: entry for entry in await pair.list()}
            for container in ("site.main.1", "one.main.1"):
                assert (found[container].state, found[container].pid) == (ContainerState.RUNNING, pids[container])
            assert (found["two.main.1"].exit_code, found["two.main.1"].host_ended) == (5, False)
            inside = await pair.guests.exec("one.main.1", ["sh", "-c", "cat /proc/[0-9]*/cmdline"], 5.0)
            assert b"sleep\x00986" not in inside.output, "what it left behind while nobody looked has gone, too"

    asyncio.run(second(asyncio.run(first())))
