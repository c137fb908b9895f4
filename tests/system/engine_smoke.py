"""Runs each engine once through everything that depends on cgroups and writes what it saw; see test_cgroup_v2.py."""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.engines.base import ContainerSpec, ContainerState, Engine
from gateway.engines.lxc.engine import LxcEngine
from gateway.engines.oci.engine import OciEngine
from gateway.engines.oci.options import OciOptions
from gateway.host import cgroup, mounts
from gateway.model.app import Limits
from tests.conformance.rootfs import IMAGE, BusyboxImage

RUN = Path("/run/fieldgate")
MEMORY_BYTES = 32 << 20
PIDS = 20
SCRIPT = "trap 'exit 3' TERM; sleep 1000 & wait"  # two processes at any moment
SPEC = ContainerSpec(
    "app", "main", 1, "sha256:1", IMAGE, command=("/bin/busybox", "sh", "-c", SCRIPT),
    limits=Limits(memory_bytes=MEMORY_BYTES, pids=PIDS),
)  # fmt: skip


async def smoke(engine: Engine) -> dict[str, Any]:
    """What was seen; the test decides whether it is right."""
    await engine.prepare()
    await engine.create(SPEC)
    await engine.start(SPEC.id)
    await asyncio.sleep(0.5)
    (status,) = await engine.list()
    group = cgroup.ROOT / Path(f"/proc/{status.pid}/cgroup").read_text().strip().removeprefix("0::/")
    seen: dict[str, Any] = {
        "mode": cgroup.mode(), "options": mounts.options_of(cgroup.ROOT)[1], "state": status.state, "group": str(group),
        **{name: (group / name).read_text().strip() for name in ("memory.max", "pids.max", "memory.oom.group")},
    }  # fmt: skip
    stats = await engine.stats(SPEC.id)
    seen["stats"] = [stats.cpu_ns > 0, stats.memory_bytes > 0, stats.memory_limit_bytes, stats.pids, stats.oom_kills]
    seen["counts_io"] = stats.read_bytes is not None and stats.written_bytes is not None
    done = await engine.exec(SPEC.id, ["/bin/busybox", "sh", "-c", "echo inside; exit 7"], 20.0)
    seen["exec"] = [done.exit_code, done.output.decode()]
    await engine.stop(SPEC.id, 10.0)
    (status,) = await engine.list()
    seen["stop"] = [status.state, status.exit_code, status.oom_killed]
    await engine.remove(SPEC.id)
    seen["group_is_gone"] = not group.exists()
    seen["oom"] = await _oom(engine)
    await engine.teardown()
    seen["left"] = [str(path) for path in cgroup.ROOT.glob("fieldgate*")]
    return seen


async def _oom(engine: Engine) -> list[Any]:
    spec = replace(SPEC, generation=2, command=("/bin/busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=200M"))
    await engine.create(spec)
    await engine.start(spec.id)
    async with asyncio.timeout(20):
        async for _ in engine.exits():
            status = next(status for status in await engine.list() if status.id == spec.id)
            if status.state is ContainerState.EXITED:
                return [status.exit_code, status.oom_killed]
    return []


async def main(target: Path) -> None:
    image = BusyboxImage(RUN / "image")
    engines: dict[str, Engine] = {
        "crun": OciEngine(RUN / "engine", image, ["crun"], 64 << 10, OciOptions(favordynmods=True)),
        "lxc": LxcEngine(RUN / "lxc", image, 64 << 10),
    }
    seen: dict[str, Any] = {}
    for name, engine in engines.items():
        try:
            seen[name] = await smoke(engine)
        except Exception:
            seen[name] = {"failed": traceback.format_exc()}
    target.write_text(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
