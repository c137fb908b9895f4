"""A gateway whose only engine is Docker: APPs come, crash, are found again, and outlive the agent and the daemon."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.engines.docker.http import Api
from gateway.host import pids
from tests.site.daemons import ApiDaemon, DockerDaemon
from tests.site.enrolment import enrol
from tests.site.gateway import Gateway
from tests.site.images import push_busybox
from tests.site.processes import wait_until
from tests.site.registry import Registry
from tests.system.test_control_line import PROFILE, _logs, compose, deploy, is_done, service

FOREVER = "echo one; trap 'exit 0' TERM; while :; do /bin/busybox sleep 0.2; done"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path) as registry:
        yield registry


@contextmanager
def gateway_on(daemon: ApiDaemon) -> Iterator[Gateway]:
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    profile = directory / "docker.toml"
    profile.write_text(f'engines = ["docker"]\ndocker_socket = "{daemon.socket}"\n{PROFILE.read_text()}')
    gateway = Gateway(directory, profile)
    enrol(gateway.paths, "gw-test")
    try:
        with gateway:
            yield gateway
    except BaseException:
        print(gateway.tail(60))
        raise
    finally:
        shutil.rmtree(directory)


def ask(daemon: ApiDaemon, method: str, path: str, **query: str) -> Any:
    return asyncio.run(Api(daemon.socket).call(method, path, query))


def is_unknown(gateway: Gateway) -> bool:
    return bool(service(gateway)["phase"] == "unknown")


def test_apps_outlive_agent_and_daemon(registry: Registry, tmp_path: Path) -> None:
    image = push_busybox(registry, tmp_path)
    with DockerDaemon(live_restore=True) as daemon, gateway_on(daemon) as gateway:
        deploy(gateway, tmp_path, compose(image, FOREVER))
        wait_until(lambda: is_done(gateway), "the APP healthy", 15)
        assert [line["text"] for line in _logs(gateway)] == ["one"]
        assert not list((gateway.paths.images / "layers").iterdir()), "what Docker unpacks need not be unpacked here"

        first = service(gateway)["pid"]
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: service(gateway)["pid"] not in (0, first) and is_done(gateway), "the APP again", 30)
        second = service(gateway)
        process = pids.identify(second["pid"])

        gateway.kill()
        gateway.start()
        wait_until(lambda: is_done(gateway), "the APP found again", 20)
        assert service(gateway)["container"] == second["container"]

        daemon.kill()
        wait_until(lambda: is_unknown(gateway), "the APP unknown", 40)
        assert "cannot reach" in service(gateway)["reason"]
        gateway.kill()  # and a new agent, which cannot ask what runs
        gateway.start()
        wait_until(lambda: is_unknown(gateway), "the APP unknown to the new agent", 20)
        daemon.start()
        wait_until(lambda: is_done(gateway), "the APP seen again", 40)
        assert (service(gateway)["container"], service(gateway)["pid"]) == (second["container"], second["pid"])
        assert process.alive(), "nobody touched it"
        assert service(gateway).get("restarts", 0) == 0


def test_what_the_daemon_has_lost_comes_back_without_a_network(registry: Registry, tmp_path: Path) -> None:
    image = push_busybox(registry, tmp_path)
    with DockerDaemon() as daemon, gateway_on(daemon) as gateway:

        def now() -> dict[str, Any]:
            return service(gateway)

        def images() -> list[str]:
            return [tag for entry in ask(daemon, "GET", "/images/json") for tag in entry["RepoTags"]]

        deploy(gateway, tmp_path, compose(image, FOREVER))
        wait_until(lambda: is_done(gateway), "the APP healthy", 60)
        before = now()
        (tag,) = images()
        assert tag.startswith("localhost/fieldgate-")

        registry.stop()
        ended = pids.identify(before["pid"])
        daemon.kill()  # without live-restore it ends its containers when it is back
        daemon.start()
        wait_until(lambda: not ended.alive(), "the container ended by its daemon", 30)
        wait_until(lambda: is_done(gateway) and now()["container"] != before["container"], "a new one", 40)

        gateway.cli("apps", "stop", "hello")
        wait_until(lambda: ask(daemon, "GET", "/containers/json", all="1") == [], "no container", 20)
        ask(daemon, "DELETE", f"/images/{tag}", force="1")
        gateway.cli("apps", "start", "hello")
        wait_until(lambda: is_done(gateway), "the APP on its image", 40)
        assert images() == [tag]

        gateway.cli("deploy", "--remove", "hello")
        wait_until(lambda: gateway.cli("apps") == [], "the APP removed", 30)
        assert ask(daemon, "GET", "/containers/json", all="1") == []
        wait_until(lambda: images() == [], "its image removed", 40)
