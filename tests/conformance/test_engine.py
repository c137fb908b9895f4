"""What every engine must do, on the real thing."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.engines.base import ContainerSpec, ContainerState, ContainerStatus, Engine, Mount
from gateway.errors import Conflict, FieldgateError, NotFound, TimedOut, ToolFailed
from gateway.host import cgroup
from gateway.model.app import Limits, TmpfsMount
from gateway.model.stats import ContainerStats
from tests.conformance.conftest import Scenario
from tests.conformance.rootfs import IMAGE

Run = Callable[[Scenario], None]
SPEC = ContainerSpec("app", "main", 1, "sha256:1", IMAGE)


def shell(script: str, **changes: object) -> ContainerSpec:
    return replace(SPEC, command=("sh", "-c", script), **changes)  # type: ignore[arg-type]


async def only(engine: Engine) -> ContainerStatus:
    (status,) = await engine.list()
    return status


async def launch(engine: Engine, spec: ContainerSpec) -> None:
    await engine.create(spec)
    await engine.start(spec.id)


async def ended(engine: Engine) -> ContainerStatus:
    async with asyncio.timeout(20):
        async for _ in engine.exits():
            if (status := await only(engine)).state is ContainerState.EXITED:
                return status
    raise AssertionError("no news")


async def output(engine: Engine, spec: ContainerSpec) -> list[str]:
    """Run to the end and return what it printed."""
    await launch(engine, spec)
    await ended(engine)
    return [line.text async for line in engine.logs(spec.id, tail=100, follow=False)]


@pytest.mark.short_form
def test_created_then_running_then_stopped(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.create(shell("trap 'exit 3' TERM; while :; do sleep 0.1; done"))
        assert (await only(engine)).state is ContainerState.CREATED
        await engine.start(SPEC.id)
        status = await only(engine)
        assert status.state is ContainerState.RUNNING
        assert status.pid > 0
        assert (status.app, status.service, status.generation, status.digest) == ("app", "main", 1, "sha256:1")
        await asyncio.sleep(0.3)
        await engine.stop(SPEC.id, 5.0)
        status = await only(engine)
        assert (status.state, status.exit_code) == (ContainerState.EXITED, 3)
        assert status.finished_ns >= status.started_ns > 0
        await engine.remove(SPEC.id)
        assert await engine.list() == []
        await engine.remove(SPEC.id)

    run(scenario)


def test_stop_kills_after_the_grace(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        await launch(engine, shell("trap '' TERM; while :; do sleep 0.1; done"))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        await engine.stop(SPEC.id, 0.5)
        assert 0.5 <= time.monotonic() - began < 5
        assert (await only(engine)).exit_code == 137
        await engine.stop(SPEC.id, 0.5)

    run(scenario)


def test_exit_code_is_news(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        await launch(engine, shell("exit 42"))
        assert (await ended(engine)).exit_code == 42

    run(scenario)


@pytest.mark.short_form
def test_kill_is_reported_as_the_signal(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        await launch(engine, SPEC)
        await engine.kill(SPEC.id)
        assert (await ended(engine)).exit_code == 137
        await engine.kill(SPEC.id)

    run(scenario)


@pytest.mark.short_form
def test_out_of_memory_is_reported_as_such(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        # Not less: runc's own first process, which lives under this limit until the start, needs some of it.
        await launch(engine, shell("exec dd if=/dev/zero of=/dev/null bs=200M", limits=Limits(memory_bytes=32 << 20)))
        status = await ended(engine)
        assert status.oom_killed
        assert status.exit_code == 137

    run(scenario)


@pytest.mark.short_form
@pytest.mark.kernel
def test_pids_are_limited(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        spec = shell("for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; echo all", limits=Limits(pids=5))
        lines = await output(engine, spec)
        assert any("fork" in line for line in lines)

    run(scenario)


@pytest.mark.kernel
def test_stats_tell_what_is_used(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        limits = Limits(memory_bytes=32 << 20, pids=16)
        hold = "dd if=/dev/zero of=/scratch/held bs=1M count=8 2>/dev/null"  # tmpfs: memory that cannot be dropped
        spec = shell(f"{hold}; sleep 1000 & while :; do :; done", limits=limits, tmpfs=(TmpfsMount("/scratch"),))
        await launch(engine, spec)
        first = await engine.stats(SPEC.id)
        async with asyncio.timeout(10):
            while (now := await engine.stats(SPEC.id)).pids < 2 or now.cpu_ns - first.cpu_ns < 100_000_000:
                await asyncio.sleep(0.1)
        assert 8 << 20 <= now.memory_bytes < limits.memory_bytes
        assert now.memory_peak_bytes is None or now.memory_peak_bytes >= 8 << 20
        assert (now.memory_limit_bytes, now.oom_kills) == (limits.memory_bytes, 0)
        await engine.kill(SPEC.id)
        await ended(engine)
        assert await engine.stats(SPEC.id) == ContainerStats()
        with pytest.raises(NotFound):
            await engine.stats("app.main.99")

    run(scenario)


def test_logs_have_stream_and_time(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        await launch(engine, shell("echo out; echo err >&2"))
        await ended(engine)
        lines = [line async for line in engine.logs(SPEC.id, tail=10, follow=False)]
        assert {(line.stream, line.text) for line in lines} == {("stdout", "out"), ("stderr", "err")}
        assert all(line.time.startswith("20") for line in lines)

    run(scenario)


@pytest.mark.kernel
def test_logs_follow_across_the_size_cap(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        script = 'i=0; while [ $i -lt 3000 ]; do echo "line number $i of many lines that are long"; i=$((i+1)); done'
        await launch(engine, shell(f"{script}; sleep 1; echo last"))
        async with asyncio.timeout(20):
            async for line in engine.logs(SPEC.id, tail=1, follow=True):
                if line.text == "last":
                    break

    run(scenario)


@pytest.mark.short_form
def test_exec_gives_code_and_output(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        await launch(engine, SPEC)
        result = await engine.exec(SPEC.id, ["sh", "-c", "echo out; echo err >&2; exit 7"], 5.0)
        assert result.exit_code == 7
        # runc copies each output on its own: their order is not kept.
        assert sorted(result.output.splitlines()) == [b"err", b"out"]

    run(scenario)


@pytest.mark.kernel
def test_exec_runs_as_the_main_process_does(run: Run) -> None:
    ask = "pwd; id -u; id -g; echo $SITE; grep -E 'Cap(Eff|Prm|Bnd)|NoNewPrivs|Seccomp:' /proc/self/status"
    spec = shell(
        f"{ask}; exec sleep 1000", user="65534:65533", environment={"SITE": "pump house"}, working_dir="/proc",
        cap_drop=("CHOWN",),
    )  # fmt: skip

    async def scenario(engine: Engine) -> None:
        await launch(engine, spec)
        result = await engine.exec(SPEC.id, ["sh", "-c", ask], 5.0)
        said = result.output.decode().splitlines()
        assert said[:4] == ["/proc", "65534", "65533", "pump house"]
        await asyncio.sleep(0.2)
        assert said == [line.text async for line in engine.logs(SPEC.id, tail=100, follow=False)]

    run(scenario)


def test_exec_that_hangs_is_killed_inside(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        await launch(engine, SPEC)
        began = time.monotonic()
        with pytest.raises(TimedOut):
            await engine.exec(SPEC.id, ["sleep", "987"], 0.5)
        assert time.monotonic() - began < 5
        running = await engine.exec(SPEC.id, ["sh", "-c", "cat /proc/[0-9]*/cmdline"], 5.0)
        assert b"sleep\x00987" not in running.output

    run(scenario)


@pytest.mark.kernel
def test_root_is_read_only_when_asked(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        spec = shell("touch /x || echo refused; touch /scratch/y && echo fine", read_only=True)
        assert "refused" in (lines := await output(engine, replace(spec, tmpfs=(TmpfsMount("/scratch"),))))
        assert "fine" in lines

    run(scenario)


@pytest.mark.kernel
def test_a_written_root_is_thrown_away(run: Run, image: object) -> None:
    async def scenario(engine: Engine) -> None:
        assert await output(engine, shell("echo kept > /etc/new && cat /etc/new")) == ["kept"]
        await engine.remove(SPEC.id)
        seen = await output(engine, shell("ls /etc", generation=2))
        assert {"group", "passwd"} <= set(seen)
        assert "new" not in seen

    run(scenario)


@pytest.mark.kernel
def test_bind_mounts(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from outside")

    async def scenario(engine: Engine) -> None:
        mounts = (Mount(tmp_path, "/rw"), Mount(tmp_path, "/ro", read_only=True))
        lines = await output(
            engine, shell("cat /ro/file; echo; touch /ro/x || echo refused; touch /rw/y", mounts=mounts)
        )
        assert "from outside" in lines
        assert "refused" in lines

    run(scenario)
    assert (tmp_path / "y").exists()
    assert not (tmp_path / "x").exists()


@pytest.mark.kernel
def test_environment_user_and_directory(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        spec = shell("env; id; pwd", environment={"BOTH": "manifest"}, user="app", working_dir="/tmp")
        lines = await output(engine, spec)
        assert {"FROM_IMAGE=yes", "BOTH=manifest", "HOME=/home/app", "/tmp"} <= set(lines)
        assert any("uid=1000" in line and "gid=1000" in line and "20" in line for line in lines)

    run(scenario)


@pytest.mark.short_form
@pytest.mark.kernel
def test_processor_time_is_limited(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        await launch(engine, replace(SPEC, limits=Limits(cpus=0.2)))
        assert processors((await only(engine)).pid) == pytest.approx(0.2)

    run(scenario)


def processors(pid: int) -> float:
    """How much the kernel gives to the group of a process: of that group, or the nearest above it that has a limit.

    Sources: Linux Documentation/scheduler/sched-bwc.rst, cgroup-v2.rst.
    """
    group = Path("/", cgroup.group_of(pid))
    for place in (group, *group.parents):
        at = cgroup.ROOT / str(place)[1:] if cgroup.mode() is cgroup.Mode.V2 else cgroup.ROOT / "cpu" / str(place)[1:]
        files = ("cpu.max",) if cgroup.mode() is cgroup.Mode.V2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        if not all((at / file).exists() for file in files):
            continue
        quota, period = " ".join((at / file).read_text().strip() for file in files).split()
        if quota not in ("max", "-1"):
            return int(quota) / int(period)
    return float("inf")


@pytest.mark.kernel
def test_a_volume_outlives_its_container(run: Run, tmp_path: Path) -> None:
    volume = tmp_path / "data"
    volume.mkdir()
    volume.chmod(0o777)  # as the agent makes them: the image says who its user is

    async def scenario(engine: Engine) -> None:
        mounts = (Mount(volume, "/data"),)
        await output(engine, shell("echo kept > /data/file", mounts=mounts, user="1000", read_only=True))
        await engine.remove(SPEC.id)
        assert await output(engine, shell("cat /data/file", mounts=mounts, user="1000", generation=2)) == ["kept"]

    run(scenario)
    assert (volume / "file").stat().st_uid == 1000


@pytest.mark.kernel
def test_a_device_is_there_when_it_is_given_and_only_then(run: Run, tmp_path: Path) -> None:
    """/dev/loop-control: no default of any engine, and opened without effect."""
    given, other = "/dev/loop-control", tmp_path / "fuse"
    os.mknod(other, stat.S_IFCHR | 0o666, os.makedev(10, 229))

    async def scenario(engine: Engine) -> None:
        script = f": < {given} && echo opened; (: < /other) 2>/dev/null || echo refused"
        spec = shell(script, devices=(given,), mounts=(Mount(other, "/other"),))
        assert await output(engine, spec) == ["opened", "refused"]
        await engine.remove(SPEC.id)
        assert await output(engine, shell(f"ls {given} 2>/dev/null || echo none", generation=2)) == ["none"]

    run(scenario)


@pytest.mark.kernel
def test_privileges_are_few(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        spec = shell("cat /proc/self/status; ls /sys/class/net", cap_drop=("ALL",), cap_add=("NET_BIND_SERVICE",))
        lines = [line.replace("\t", " ") for line in await output(engine, spec)]
        assert "CapEff: 0000000000000400" in lines
        assert "CapBnd: 0000000000000400" in lines
        assert "NoNewPrivs: 1" in lines
        assert "Seccomp: 2" in lines
        assert lines[-1] == "lo"

    run(scenario)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (replace(SPEC, image="registry.test/none@sha256:" + "1" * 64), NotFound),
        (replace(SPEC, command=("/no/such/program",)), ToolFailed),
        (replace(SPEC, user="nobody-here"), FieldgateError),
        (replace(SPEC, devices=("/dev/does-not-exist",)), FieldgateError),
    ],
)
def test_a_failed_create_leaves_nothing(run: Run, spec: ContainerSpec, error: type[Exception]) -> None:
    async def scenario(engine: Engine) -> None:
        with pytest.raises(error):
            await launch(engine, spec)
        for status in await engine.list():  # a runtime may notice only at the start
            await engine.remove(status.id)
        assert await engine.list() == []

    run(scenario)


def test_an_id_is_used_once(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        await engine.create(SPEC)
        with pytest.raises(Conflict):
            await engine.create(SPEC)
        with pytest.raises(NotFound):
            await engine.start("app.main.99")

    run(scenario)


@pytest.mark.short_form
def test_another_engine_finds_what_runs(make_engine: Callable[[], Engine]) -> None:
    """As after SIGKILL of the agent: the second engine never saw the first one's memory."""

    async def first() -> int:
        engine = make_engine()
        await engine.prepare()
        await launch(engine, SPEC)
        await launch(engine, shell("trap 'exit 5' TERM; while :; do sleep 0.1; done", generation=2))
        await asyncio.sleep(0.3)
        pid = {status.generation: status.pid for status in await engine.list()}[1]
        await engine.close()
        return pid

    async def second(pid: int) -> None:
        engine = make_engine()
        await engine.prepare()
        try:
            statuses = {status.generation: status for status in await engine.list()}
            assert (statuses[1].state, statuses[1].pid) == (ContainerState.RUNNING, pid)
            await engine.kill("app.main.2", "SIGTERM")
            async with asyncio.timeout(10):
                async for news in engine.exits():
                    assert news.id == "app.main.2"
                    statuses = {status.generation: status for status in await engine.list()}
                    if statuses[2].state is ContainerState.EXITED:
                        break
            assert statuses[2].exit_code == 5
        finally:
            await engine.teardown()

    asyncio.run(second(asyncio.run(first())))
