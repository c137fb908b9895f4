"""The data line on real parts: meter on a pty -> agent -> APP in crun -> eSDK -> rules, tags, outbox; agent killed."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli.client import Agent
from gateway.errors import ToolFailed
from gateway.host import pids
from tests.site.enrolment import enrol
from tests.site.field import GpioBoard, Meter
from tests.site.gateway import ROOT, Gateway
from tests.site.processes import wait_until
from tests.site.registry import Registry, image_tool

PROFILE = ROOT / "firmware_profiles" / "developer-x86_64.toml"
MANIFEST = ROOT / "apps" / "meter_reader" / "compose.yaml"
DO1 = 1


class House:
    """A gateway with its field, and the meter reader's image in a registry."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.gateway = Gateway(directory, PROFILE)
        self.meter = Meter(directory, self.gateway.paths.run / "field" / "RS485-1")
        self.board = GpioBoard(directory, self.gateway.paths.run / "field" / "gpiochip0.sock")
        self.agent = Agent(self.gateway.paths.admin_socket)

    def tag(self, name: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = self.agent.call("GET", f"/v1/tags?match={name}")
        return found[0] if found else {"value": None, "time_ns": 0, "quality": ""}

    def reader(self) -> dict[str, Any]:
        for report in self.agent.call("GET", "/v1/apps"):
            service: dict[str, Any] = report["services"][0]
            return {"pid": 0, "rollout": report["rollout"], **service}
        return {"phase": "", "rollout": "", "pid": 0}

    def outbox(self) -> dict[str, Any]:
        streams = self.agent.call("GET", "/v1/status")["outbox"]["streams"]
        return dict(streams[0]) if streams else {"appended": 0}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The meter reader, built as `make demo` builds it, pinned in a running registry."""
    directory = tmp_path_factory.mktemp("image")
    base = image_tool("base", "--cache", str(ROOT / "build" / "cache"))
    image_tool(
        "app", str(ROOT), "--file", str(MANIFEST.parent / "Containerfile"),
        "--base", str(base["layout"]), "--output", str(directory / "layout"),
    )  # fmt: skip
    with Registry(directory) as registry:
        yield registry.push(directory / "layout", "apps/meter-reader:1")


@pytest.fixture
def house(image: str) -> Iterator[House]:
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    house = House(directory)
    enrol(house.gateway.paths, "gw-test")
    manifest = yaml.safe_load(MANIFEST.read_text())
    manifest["services"]["reader"]["image"] = image
    manifest["services"]["reader"]["x-esdk"]["settings"]["energy_interval_s"] = 1
    del manifest["services"]["reader"]["build"]
    file = directory / "compose.yaml"
    file.write_text(yaml.safe_dump(manifest))
    try:
        with house.meter, house.board, house.gateway:
            house.gateway.cli("deploy", str(file))
            wait_until(lambda: house.reader()["rollout"] == "done", "the reader healthy", 60)
            yield house
    finally:
        shutil.rmtree(directory)


def test_from_the_bus_to_the_outbox_and_back_to_a_line(house: House) -> None:
    wait_until(lambda: house.tag("meter/power")["value"] == 1000, "the power", 10)
    assert house.tag("meter/voltage") | {"time_ns": 0} == {
        "tag": "meter/voltage", "value": 230.0, "time_ns": 0, "unit": "V", "quality": "good",
        "source": "meter-reader.reader",
    }  # fmt: skip
    assert abs(house.tag("meter/power")["time_ns"] - time.time_ns()) < 5e9

    assert [tag["tag"] for tag in house.gateway.cli("tags", "meter/power", "other/#")] == ["meter/power"]
    with pytest.raises(ToolFailed, match="'meter/v\\+' is not a tag pattern"):
        house.gateway.cli("tags", "meter/v+")

    house.meter.set(power=6000)
    house.board.wait_for(DO1, 1, 5)
    status = house.agent.call("GET", "/v1/status")
    line = next(line for line in status["lines"] if line["line"] == "DO1")
    assert (line["value"], line["decided_by"]) == (1, "rule")
    assert 0 < status["pipeline"]["last_response_us"] < 1_000_000
    wait_until(lambda: house.outbox()["appended"] >= 6, "windows and durable samples on flash", 15)

    # The agent dies while the rule holds the line, and the overload ends before the next agent lives.
    reader = pids.identify(house.reader()["pid"])
    accepted = house.outbox()["appended"]
    house.gateway.kill()
    house.meter.set(power=800)
    time.sleep(3)
    assert house.board.level(DO1) == 1, "on_agent_loss = hold"
    assert reader.alive()
    house.gateway.start()
    house.board.wait_for(DO1, 0, 10)
    assert reader.alive(), "the APP never stopped"
    assert [change.level for change in house.board.history(DO1)] == [1, 0]
    wait_until(lambda: house.outbox()["appended"] >= accepted + 9, "what the APP kept meanwhile", 15)

    # The meter is unplugged and comes back: bad quality, nobody restarts.
    house.meter.stop()
    wait_until(lambda: house.tag("meter/power")["quality"] == "bad", "bad quality", 10)
    house.meter.start(power=700)
    wait_until(lambda: house.tag("meter/power")["value"] == 700, "the meter again", 20)
    assert house.tag("meter/power")["quality"] == "good"
    assert reader.alive()
    os.kill(reader.pid, 0)
