"""An APP's life on an arm64 gateway that has no network; runs inside the guest. See test_agent.py.

Imported, started, killed, adopted by a new agent, updated, rolled back, removed. Writes what it saw as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.cli.client import Agent
from gateway.documents.desired import encode_desired, sign_desired
from gateway.engines.base import ContainerSpec, Mount
from gateway.engines.oci.engine import OciEngine
from gateway.errors import FieldgateError, NotFound
from gateway.host import cgroup, pids
from gateway.model.app import Limits
from tests.bench.signal_pipe import SCRIPT, SignalPipe
from tests.conformance.rootfs import IMAGE, BusyboxImage
from tests.site.enrolment import Enrolled, enrol
from tests.site.gateway import Gateway
from tests.site.processes import pss_mb, wait_until

ARCHIVE = Path("/shared/image.tar")
DIRECTORY = Path("/run/fg")
STARTS = 5
PATIENCE_S = 240.0
SETTLE_S = 5.0
PROFILE = """\
name = "qemu-arm64"
architecture = "arm64"
runtimes = ["crun"]
[gpio.DI1]
chip = "/dev/gpiochip0"
offset = 0
[gpio.DO1]
chip = "/dev/gpiochip0"
offset = 1
output = true
[authorities.cloud]
gpio = ["*"]
"""


class Story:
    """`seen` is what happened; every chapter says on the console how long it took."""

    def __init__(self, gateway: Gateway, cloud: Enrolled) -> None:
        self.gateway, self.cloud = gateway, cloud
        self.revision = 0
        self.agent = Agent(gateway.paths.admin_socket)
        self.seen: dict[str, Any] = {"machine": platform.machine(), "python": platform.python_version()}

    def chapter(self, name: str, act: Callable[[], Any]) -> None:
        began = time.monotonic()
        self.seen[name] = act()
        print(f"{name}: {time.monotonic() - began:.1f} s", flush=True)

    def service(self) -> dict[str, Any]:
        """Report of the APP and of its only service in one; `pid` 0 while there is none."""
        for report in self.agent.call("GET", "/v1/apps"):
            return {"pid": 0, **report, **report["services"][0]}
        return {"phase": "absent", "rollout": "", "pid": 0}

    def await_version(self, version: str) -> int:
        """Until this version is healthy; the pid of its process."""
        wait_until(lambda: self.says(version) and self.service()["phase"] == "healthy", version, PATIENCE_S, 0.2)
        return int(self.service()["pid"])

    def says(self, version: str) -> bool:
        """Whether its newest container runs and has printed that."""
        with contextlib.suppress(NotFound):  # it has none at the moment
            texts = [line["text"] for line in self.agent.stream("/v1/apps/app/logs?tail=9")]
            return texts == [version] and bool(self.service()["pid"])
        return False

    def deploy(self, version: str, health: str = "true") -> None:
        """As the cloud does; where the command would only start another Python."""
        self.revision += 1
        service = {
            "image": self.seen["import"][0], "command": ["sh", "-c", f"echo {version}; exec /bin/busybox sleep 1000"],
            "restart": "always", "stop_grace_period": "1s", "read_only": True,
            "healthcheck": {"test": ["CMD", "/bin/busybox", health], "interval": "1s", "retries": 2},
            "deploy": {"resources": {"limits": {"memory": "32M", "pids": 16}}},
            "x-esdk": {"gpio": {"DI1": "read"}},
        }  # fmt: skip
        document = {"name": "app", "x-esdk-version": version, "services": {"main": service}}
        payload = encode_desired(self.cloud.gateway, self.cloud.incarnation, "cloud", self.revision, {"app": document})
        self.agent.call("PUT", "/v1/desired/cloud", sign_desired(payload, [self.cloud.signer]))

    def now(self) -> str:
        """For whoever has to find out why it failed."""
        with contextlib.suppress(FieldgateError):
            return json.dumps([self.agent.call("GET", "/v1/apps"), list(self.agent.stream("/v1/apps/app/logs?tail=9"))])
        return "the agent does not answer"

    # The chapters

    def start(self) -> float:
        """Seconds until the admin socket answers."""
        began = time.monotonic()
        self.gateway.start(timeout_s=PATIENCE_S)
        return time.monotonic() - began

    def imported(self) -> list[str]:
        said = list(self.agent.stream(f"/v1/images?file={ARCHIVE}", "POST"))
        return [line["image"] for line in said if "image" in line]

    def first_version(self) -> dict[str, Any]:
        self.deploy("one")
        group = cgroup.ROOT / Path(f"/proc/{self.await_version('one')}/cgroup").read_text().strip()[4:]
        return {name: (group / name).read_text().strip() for name in ("memory.max", "pids.max")}

    def app_killed(self) -> int:
        """How often it was restarted."""
        before = self.service()["pid"]
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: self.service()["pid"] not in (0, before), "the APP again", PATIENCE_S, 0.2)
        self.await_version("one")
        return int(self.service()["restarts"])

    def agent_killed(self) -> dict[str, Any]:
        """A new agent finds the APP and leaves it alone."""
        container, process = self.service()["container"], pids.identify(self.service()["pid"])
        self.gateway.kill()
        seconds = self.start()
        self.await_version("one")
        same = process.alive() and self.service()["container"] == container
        time.sleep(SETTLE_S)
        return {"the APP went on": same, "start_s": seconds, "pss_mb": pss_mb(self.gateway.pid)}

    def second_version(self) -> bool:
        old = pids.identify(self.service()["pid"])
        self.deploy("two")
        self.await_version("two")
        return not old.alive()

    def bad_version(self) -> dict[str, Any]:
        self.deploy("three", health="false")
        wait_until(lambda: self.service()["rollout"] == "rolled_back", "the roll-back", PATIENCE_S, 0.2)
        self.await_version("two")
        return {"rollout": self.service()["rollout"], "reason": self.service()["reason"]}

    def all_down(self) -> list[str]:
        """What is left."""
        self.agent.call("POST", "/v1/down")
        wait_until(lambda: not self.gateway.pid, "the agent's end", PATIENCE_S, 0.2)
        return [str(path) for path in cgroup.ROOT.glob("fieldgate*")]


def start_one_ms() -> list[float]:
    """Create and start a container whose image is unpacked, until its process runs; the first round warms up."""
    (directory := DIRECTORY / "one" / "signal").mkdir(parents=True)
    pipe = SignalPipe(directory)
    engine = OciEngine(DIRECTORY / "one" / "engine", BusyboxImage(DIRECTORY / "one" / "image"), ["crun"], 64 << 10)

    async def once(generation: int) -> float:
        spec = ContainerSpec(
            "bench", "main", generation, "sha256:1", IMAGE, command=("/bin/busybox", "sh", "-c", SCRIPT),
            limits=Limits(memory_bytes=32 << 20, pids=16), mounts=(Mount(directory, "/signal"),),
        )  # fmt: skip
        began = time.perf_counter()
        await engine.create(spec)
        await engine.start(spec.id)
        seconds = (await asyncio.to_thread(pipe.wait)) - began
        await engine.remove(spec.id)
        return seconds * 1000

    async def all_rounds() -> list[float]:
        await engine.prepare()
        rounds = [await once(generation) for generation in range(1, STARTS + 2)]
        await engine.teardown()
        return rounds[1:]

    try:
        return asyncio.run(all_rounds())
    finally:
        pipe.close()


def main(target: Path) -> None:
    DIRECTORY.mkdir()
    (DIRECTORY / "board.toml").write_text(PROFILE)
    gateway = Gateway(DIRECTORY, DIRECTORY / "board.toml")
    story = Story(gateway, enrol(gateway.paths, "gw-arm64"))
    try:
        story.chapter("first start", story.start)
        story.chapter("import", story.imported)
        story.chapter("first version", story.first_version)
        story.chapter("APP killed", story.app_killed)
        story.chapter("agent killed", story.agent_killed)
        story.chapter("second version", story.second_version)
        story.chapter("bad version", story.bad_version)
        story.chapter("left", story.all_down)
        story.chapter("start_one_ms", start_one_ms)
    except Exception:
        story.seen["failed"] = f"{traceback.format_exc()}\n{story.now()}\n{gateway.tail(40)}"
    target.write_text(json.dumps(story.seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
