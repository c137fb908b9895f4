"""Operating a gateway from its own command line, on real parts: why, exec, shell, stats, roll back, pin."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import select
import shutil
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.client import Agent
from gateway.model.causes import Explanation, lines
from gateway.model.wire import from_wire
from tests.site.enrolment import enrol
from tests.site.gateway import ROOT, Gateway
from tests.site.images import push_busybox
from tests.site.processes import free_port, wait_until
from tests.site.registry import Registry

PROFILE = ROOT / "firmware_profiles" / "developer-x86_64.toml"


@dataclass
class Site:
    directory: Path
    gateway: Gateway
    image: str

    def deploy(self, script: str, version: str, name: str = "hello", **service: Any) -> None:
        main = {
            "image": self.image, "command": ["sh", "-c", script], "restart": "always", "stop_grace_period": "1s",
            "environment": {"VERSION": version}, "tmpfs": ["/tmp:size=1M"],
            "healthcheck": {"test": ["CMD", "/bin/busybox", "true"], "interval": "1s"}, **service,
        }  # fmt: skip
        file = self.directory / f"{name}.json"
        file.write_text(json.dumps({"name": name, "x-esdk-version": version, "services": {"main": main}}))
        self.gateway.cli("deploy", str(file))

    def report(self, name: str = "hello") -> dict[str, Any]:
        reports = Agent(self.gateway.paths.admin_socket).call("GET", "/v1/apps")
        found: dict[str, Any] = next((report for report in reports if report["app"] == name), {"rollout": "absent"})
        return found

    def runs(self, version: str, rollout: str = "done") -> bool:
        report = self.report()
        ready = rollout == report["rollout"] and report["version"] == version
        return ready and report["services"][0]["phase"] in ("healthy", "running")

    def processes(self) -> int:
        (figures,) = Agent(self.gateway.paths.admin_socket).call("GET", "/v1/stats?app=hello")
        return int(figures["pids"])

    def why(self, name: str) -> str:
        """As `fieldgate why` prints it."""
        answer = Agent(self.gateway.paths.admin_socket).call("GET", f"/v1/apps/{name}/why")
        return "\n".join(lines(from_wire(Explanation, answer), time.time_ns()))

    def said(self, *command: str) -> tuple[int, str]:
        """Exit status and what a person reads."""
        argv = [*self.gateway.command(command[0]), *command[1:]]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    gateway = Gateway(directory, PROFILE)
    enrol(gateway.paths, "gw-test", free_port())
    try:
        with Registry(tmp_path) as registry, gateway:
            yield Site(tmp_path, gateway, push_busybox(registry, tmp_path))
    finally:
        shutil.rmtree(directory)


def test_why_roll_back_and_pin(site: Site) -> None:
    assert site.said("why", "hello")[0] == 66
    sleeps = "exec /bin/busybox sleep 1000"
    site.deploy(sleeps, "1")
    # A second APP whose image cannot be had: the root is the link, which this site has never had.
    site.deploy(sleeps, "1", "lost", image=f"127.0.0.1:{free_port()}/test/nothing:1@sha256:{'0' * 64}")
    # A third one that ends by itself: what it said last is shown.
    site.deploy("echo cannot find the meter; exit 3", "1", "broken")
    wait_until(lambda: site.runs("1"), "version 1", 60)
    status, said = site.said("why", "hello")
    assert status == 0
    assert said.startswith("hello: version 1 healthy since ")
    blamed = "; link to the broker down: cannot reach"
    wait_until(lambda: blamed in site.why("lost"), "the chain down to the link", 60)
    assert site.why("lost").startswith("lost: waiting for 127.0.0.1:")
    wait_until(lambda: "| cannot find the meter" in site.why("broken"), "its last words", 60)
    assert site.said("why", "lost", "--json")[0] == 1

    site.deploy(sleeps, "2")
    wait_until(lambda: site.runs("2"), "version 2", 60)
    assert site.gateway.cli("rollback", "hello") == {"app": "hello", "order": "rollback", "version": "1"}
    wait_until(lambda: site.runs("1", "rolled_back"), "version 1 again", 60)
    assert "; rolled back by the operator" in site.why("hello")
    assert site.said("pin", "hello") == (0, "hello: version 1 stays\n")
    site.deploy(sleeps, "3")
    wait_until(lambda: site.runs("1", "pinned"), "version 3 waiting", 60)
    site.gateway.kill()
    site.gateway.start()
    wait_until(lambda: site.runs("1", "pinned"), "the pin after a restart of the agent", 60)
    assert "version 1 is pinned by the operator; version 3 waits" in site.why("hello")
    assert site.said("pin", "hello", "--off") == (0, "hello: version 3 is to run\n")
    wait_until(lambda: site.runs("3"), "version 3", 60)


def test_exec_shell_stats_and_the_record_of_them(site: Site) -> None:
    site.deploy("exec /bin/busybox sleep 1000", "1")
    wait_until(lambda: site.runs("1"), "version 1", 60)
    assert site.said("exec", "hello", "--", "/bin/busybox", "sh", "-c", "echo $VERSION; exit 7") == (7, "1\n")
    assert site.said("exec", "hello")[0] == 65
    assert site.said("exec", "hello", "--service", "none", "--", "x")[0] == 66
    status, said = site.said("exec", "hello", "--timeout", "0.5", "--", "/bin/busybox", "sleep", "987")
    assert status == 75
    assert "no end after 0.5 s" in said
    status, said = site.said("exec", "hello", "--", "/bin/busybox", "head", "-c", "100000", "/dev/zero")
    assert (status, said.count("\0")) == (0, 65536)
    assert "only 65536 bytes of its output are shown" in said

    (figures,) = site.gateway.cli("stats", "hello")
    assert figures["pids"] == 1
    assert figures["memory_bytes"] > 0
    assert site.said("stats", "nothing")[0] == 66

    assert site.said("shell", "hello")[0] == 65, "it wants a terminal"
    shell = Shell([*site.gateway.command("shell"), "hello", "--", "/bin/busybox", "sh"])
    try:
        shell.type("stty size; echo one-$((1 + 1))\n")
        assert "31 97" in shell.until("one-2")
        shell.resize(44, 111)
        shell.type("/bin/busybox sleep 0.5; stty size; echo two-$((1 + 1))\n")
        assert "44 111" in shell.until("two-2")
        shell.type("exit 5\n")
        assert shell.wait() == 5
    finally:
        shell.close()
    # Who goes away has closed his shell, and what ran in it is gone.
    shell = Shell([*site.gateway.command("shell"), "hello", "--", "/bin/busybox", "sh"])
    shell.until("/ # ")
    wait_until(lambda: site.processes() == 2, "the shell")
    shell.close()
    wait_until(lambda: site.processes() == 1, "the shell gone")
    restarted = site.report()["services"][0]["container"]
    site.gateway.cli("restart", "hello")
    wait_until(lambda: site.runs("1") and site.report()["services"][0]["container"] != restarted, "a new container")

    site.gateway.kill()
    site.gateway.start()
    record = site.gateway.cli("audit")
    assert [(entry["op"], entry.get("exit_code"), entry["outcome"][:4]) for entry in record] == [
        ("exec", 7, "done"),
        ("exec", None, "cann"),
        ("exec", 0, "done"),
        ("shell", 5, "done"),
        ("shell", None, "done"),
        ("restart", None, "done"),
    ]
    assert record[0]["arguments"] == "/bin/busybox sh -c 'echo $VERSION; exit 7'"
    assert record[0]["output_digest"] == "sha256:" + hashlib.sha256(b"1\n").hexdigest()
    assert "the operator" in site.said("audit")[1]


class Shell:
    """A command on a terminal of 31 rows and 97 columns."""

    def __init__(self, argv: list[str]) -> None:
        self._master, slave = os.openpty()
        self.resize(31, 97)
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *argv], stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "TERM": "vt100"}
        )
        os.close(slave)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def until(self, wanted: str, timeout_s: float = 20.0) -> str:
        """What is printed, up to `wanted`."""
        printed, deadline = "", time.monotonic() + timeout_s
        while wanted not in printed:
            assert select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))[0], printed
            printed += os.read(self._master, 65536).decode(errors="replace")
        return printed

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def wait(self) -> int:
        return self._process.wait(timeout=20)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)
