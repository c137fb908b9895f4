"""A container in a container on pure cgroup v2; runs inside User-mode Linux, see test_hosted_on_v2.py."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from gateway.engines.base import ContainerSpec, ContainerState, ContainerStatus, Engine, HostContainer
from gateway.engines.oci.engine import OciEngine
from gateway.host import cgroup
from gateway.model.app import Limits
from tests.conformance.rootfs import IMAGE, PACKAGE, BusyboxImage

RUN = Path("/run/fieldgate")
MEMORY_BYTES = 24 << 20
HOST = ContainerSpec("site", "main", 1, "sha256:1", IMAGE, limits=Limits(memory_bytes=16 << 20))
DD = ("dd", "if=/dev/zero", "of=/dev/null", "bs=100M")


async def status(engine: Engine, container: str) -> ContainerStatus:
    return next(entry for entry in await engine.list() if entry.id == container)


async def launch(engine: Engine, spec: ContainerSpec) -> ContainerStatus:
    await engine.create(spec)
    await engine.start(spec.id)
    return await status(engine, spec.id)


async def ended(engine: Engine, container: str) -> ContainerStatus:
    """What became of it, once its own end was news: then nothing of it is left inside."""
    async with asyncio.timeout(20):
        async for news in engine.exits():
            if news.id != container:
                continue
            seen = await status(engine, container)
            if seen.state is ContainerState.EXITED:  # its process ends before its exit code is written
                return seen
    raise AssertionError("no news")


async def smoke(engine: Engine) -> dict[str, Any]:
    """What was seen; the test decides whether it is right."""
    await engine.prepare()
    host = await launch(engine, HOST)

    def guest(app: str, *command: str) -> ContainerSpec:
        joined = HostContainer(HOST.id, host.pid)
        limits = Limits(memory_bytes=MEMORY_BYTES, pids=8)
        return ContainerSpec(app, "main", 1, "sha256:2", PACKAGE, command=command, host=joined, limits=limits)

    good = await launch(engine, guest("good", "sleep", "1000"))
    group = cgroup.ROOT / Path(f"/proc/{good.pid}/cgroup").read_text().strip().removeprefix("0::/")
    seen: dict[str, Any] = {
        "mode": cgroup.mode(),
        "shared": [os.readlink(f"/proc/{good.pid}/ns/{kind}") == os.readlink(f"/proc/{host.pid}/ns/{kind}")
                   for kind in ("pid", "net", "ipc", "uts", "mnt", "cgroup")],
        **{name: (group / name).read_text().strip() for name in ("memory.max", "pids.max")},
    }  # fmt: skip
    await launch(engine, guest("hungry", *DD))
    hungry = await ended(engine, "hungry.main.1")
    seen["oom"] = [hungry.exit_code, hungry.oom_killed, hungry.host_ended]
    await launch(engine, guest("leaves", "sh", "-c", "sleep 987 & exit 3"))
    seen["exit"] = (await ended(engine, "leaves.main.1")).exit_code
    seen["left_inside"] = b"987" in (await engine.exec(good.id, ["sh", "-c", "cat /proc/[0-9]*/cmdline"], 20.0)).output
    seen["unharmed"] = [(await status(engine, entry.id)).pid == entry.pid for entry in (host, good)]
    await engine.kill(HOST.id)
    end = await ended(engine, good.id)
    seen["with_its_host"] = [end.exit_code, end.host_ended]
    await engine.teardown()
    seen["left"] = [str(path) for path in cgroup.ROOT.glob("fieldgate*")]
    return seen


async def main(target: Path) -> None:
    engine = OciEngine(RUN / "engine", BusyboxImage(RUN / "image"), ["crun"], 64 << 10)
    try:
        seen = await smoke(engine)
    except Exception:
        seen = {"failed": traceback.format_exc()}
    target.write_text(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
