"""The gateway's commands as a person uses them: tables, orders, lines that come, on a running agent with a real APP."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import esdk
from gateway.cli.client import Agent
from tests.site.enrolment import enrol
from tests.site.gateway import ROOT, Gateway
from tests.site.images import push_busybox
from tests.site.processes import wait_until
from tests.site.registry import Registry

PROFILE = ROOT / "firmware_profiles" / "developer-x86_64.toml"
SCRIPT = "i=0; trap 'exit 0' TERM; while :; do echo line $$i; i=$$((i+1)); /bin/busybox sleep 0.1; done"
MEAN = "[bold]x\x1b[2J"
"""Text that a terminal must neither obey nor take for markup."""


class Site:
    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def said(self, *command: str) -> str:
        """What a person reads; a command that fails is an error."""
        argv = [*self.gateway.command(command[0]), *command[1:]]
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=60, check=False, env={"COLUMNS": "200", "TZ": "UTC"}
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def service(self) -> dict[str, Any]:
        (report,) = Agent(self.gateway.paths.admin_socket).call("GET", "/v1/apps")
        return {"pid": 0, "reason": "", **report, **report["services"][0]}

    @contextmanager
    def following(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """A command that goes on until it is interrupted, as by Ctrl-C; it then ends without a traceback."""
        argv = [*self.gateway.command(command[0]), *command[1:]]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            yield process
            process.send_signal(2)
            _, complaints = process.communicate(timeout=20)
            assert (process.returncode, complaints) == (130, "")
        finally:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    files = tmp_path_factory.mktemp("registry")
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    gateway = Gateway(directory, PROFILE)
    enrol(gateway.paths, "gw-test")
    try:
        with Registry(files) as registry, gateway:
            main = {
                "image": push_busybox(registry, files), "command": ["sh", "-c", SCRIPT], "restart": "always",
                "stop_grace_period": "2s", "x-esdk": {"tags": {"publish": ["meter/#"]}},
                "healthcheck": {"test": ["CMD", "/bin/busybox", "true"], "interval": "1s"},
            }  # fmt: skip
            file = files / "hello.json"
            file.write_text(json.dumps({"name": "hello", "x-esdk-version": "1.0", "services": {"main": main}}))
            running = Site(gateway)
            assert "hello: deployed, revision 1" in running.said("deploy", str(file))
            wait_until(lambda: running.service()["phase"] == "healthy", "the APP healthy", 60)
            yield running
    finally:
        shutil.rmtree(directory)


def publish(site: Site, value: Any) -> None:
    """As the APP does, from outside: its socket is its identity."""
    path = site.gateway.paths.endpoints / site.service()["container"] / "esdk.sock"
    with esdk.Gateway(str(path)) as gateway:
        assert gateway.tags.publish([{"tag": "meter/power", "value": value, "unit": "W"}])


def test_tables(site: Site) -> None:
    status = dict(line.strip().split(None, 1) for line in site.said("status").splitlines() if line.strip())
    assert status["gateway"] == "gw-test"
    assert status["revisions"] == "local 1"
    assert status["apps"].startswith("hello ")
    assert status["outbox"].startswith("0 records wait, 0 dropped")
    head, row = site.said("apps").splitlines()
    assert head.split() == ["APP", "SERVICE", "PHASE", "VERSION", "RESTARTS", "OWNER", "REASON"]
    assert row.split() == ["hello", "main", "healthy", "1.0", "0", "local"]


@pytest.mark.leaks("the APP's newest container belongs to the module's gateway")
def test_stop_start_and_restart(site: Site) -> None:
    assert "hello: will stop" in site.said("apps", "stop", "hello")
    wait_until(lambda: site.service()["phase"] == "stopped", "the APP stopped", 30)
    assert "stopped by the operator" in site.said("apps")
    assert site.gateway.cli("apps", "start", "hello") == {"app": "hello", "action": "start"}
    wait_until(lambda: site.service()["phase"] == "healthy", "the APP again", 30)
    first = site.service()["pid"]
    site.said("apps", "restart", "hello")
    wait_until(lambda: site.service()["pid"] not in (0, first), "another process", 30)
    wait_until(lambda: site.service()["phase"] == "healthy", "the APP healthy", 30)


def test_logs_show_the_past_and_go_on(site: Site) -> None:
    wait_until(lambda: len(site.said("logs", "hello").splitlines()) > 2, "some lines")
    clock, text = site.said("logs", "hello", "--tail", "1").split(None, 1)
    assert text.startswith("line ")
    assert len(clock) == len("12:34:56.789")
    with site.following("logs", "hello", "-f", "--tail", "1") as process:
        assert process.stdout is not None
        numbers = [int(process.stdout.readline().split()[2]) for _ in range(4)]
    assert numbers == list(range(numbers[0], numbers[0] + 4))


def test_tags_are_text_whatever_they_say(site: Site) -> None:
    publish(site, 1234.5)
    head, row = site.said("tags", "meter/#").splitlines()
    assert head.split() == ["TIME", "TAG", "VALUE", "UNIT", "QUALITY", "SOURCE"]
    assert row.split()[1:] == ["meter/power", "1234.5", "W", "good", "hello.main"]
    assert "No tags" in site.said("tags", "other/#")
    with site.following("tags", "-f") as process, ThreadPoolExecutor(1) as background:
        assert process.stdout is not None
        reading = background.submit(process.stdout.readline)
        while not reading.done():  # it may need a moment to subscribe
            publish(site, MEAN)
            time.sleep(0.1)
        line = reading.result()
    assert "[bold]x [2J" in line
    shown = site.said("tags")
    assert "[bold]x [2J" in shown
    assert "\x1b" not in shown + line
    assert site.gateway.cli("tags")[0]["value"] == MEAN


def test_down_says_what_it_did(site: Site) -> None:
    """The last one: afterwards there is no agent."""
    agent = site.gateway.pid
    assert site.gateway.cli("down") == {"down": True, "agent": agent}
    assert site.gateway.cli("down", "--profile", str(PROFILE)) == {"down": True, "agent": 0}
