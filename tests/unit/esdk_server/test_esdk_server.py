"""The eSDK as an APP sees it: the real server on a real endpoint, called by the real client library."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

import esdk
from esdk.modbus import crc16
from gateway.endpoints import Endpoints, EndpointSpec
from gateway.errors import NotFound, TimedOut, Unavailable
from gateway.esdk_server import openapi
from gateway.esdk_server.ports import Ports
from gateway.esdk_server.server import EsdkServer
from gateway.model.app import Grant
from gateway.model.tags import Ingested, Sample
from gateway.serving import Limits
from gateway.tags.subscription import Subscription
from gateway.tags.table import TagTable

GRANT = Grant(serial=("RS485-1",), gpio={"DO1": "write", "DI1": "read"}, publish=("meter/#",), system=("info",))
SPEC = EndpointSpec("meter.reader.1", "meter", "reader", 1, "1.0", GRANT, {"unit": "7"})


class Field:
    """A bus with one device, lines, a tag table: the rooms below, in memory."""

    def __init__(self) -> None:
        self.table = TagTable()
        self.lines = {"DO1": 0, "DI1": 1}
        self.ingested: list[tuple[str, bool]] = []
        self.away = False

    async def transact(self, port: str, request: bytes, *, framing: str, timeout_s: float, owner: str) -> bytes:
        if request[0] != 1:
            raise TimedOut(f"cannot get an answer on {port}: none within {timeout_s:g} s")
        body = bytes((1, 3, 2, 0x08, 0xFC))
        return body + crc16(body).to_bytes(2, "little")

    async def read(self, line: str) -> dict[str, Any]:
        if line not in self.lines:
            raise NotFound(f"cannot find line {line}")
        return {"line": line, "value": self.lines[line], "decided_by": "app", "since_ns": 0}

    async def set(self, line: str, value: int, owner: str) -> dict[str, Any]:
        self.lines[line] = value
        return await self.read(line)

    async def ingest(self, samples: Sequence[Sample], *, owner: str, durable: bool, key: str) -> Ingested:
        if self.away:
            raise Unavailable("cannot take samples: the outbox is full")
        self.ingested.append((key, durable))
        self.table.publish(samples)
        return Ingested(len(samples), durable, 1, len(samples), 0 if durable else 1.0)

    def select(self, patterns: Iterable[str]) -> list[Sample]:
        return self.table.select(patterns)

    def subscribe(self, patterns: Iterable[str], limit: int) -> Subscription:
        return self.table.subscribe(tuple(patterns), limit)

    def facts(self) -> dict[str, Any]:
        return {"time": {"unix_ns": 1}, "model": "test board"}


def serve(directory: Path, scenario: Callable[[esdk.Gateway, Field], None], after: bool = False) -> None:
    """Run `scenario` in a thread, as an APP runs in a process of its own."""

    async def main() -> None:
        field, endpoints = Field(), Endpoints(directory)
        path = endpoints.bind(SPEC) / "esdk.sock"
        ports = Ports(field, field, field, field, field)
        server = EsdkServer(endpoints.changes(), ports, Limits(), max_unread_events=8)
        task = asyncio.create_task(server.run())
        gateway = esdk.Gateway(str(path), timeout_s=5)
        try:
            async with asyncio.timeout(20):
                await asyncio.to_thread(scenario, gateway, field)
        finally:
            gateway.close()
            endpoints.release(SPEC.container)
            await asyncio.sleep(0.05)
            endpoints.close()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.get_running_loop().shutdown_default_executor()

    asyncio.run(main())


def test_an_app_knows_itself(tmp_path: Path) -> None:
    def scenario(gateway: esdk.Gateway, field: Field) -> None:
        me = gateway.app()
        assert (me["app"], me["service"], me["generation"]) == ("meter", "reader", 1)
        assert gateway.settings() == {"unit": "7"}
        assert gateway.system()["model"] == "test board"

    serve(tmp_path, scenario)


def test_serial(tmp_path: Path) -> None:
    def scenario(gateway: esdk.Gateway, field: Field) -> None:
        assert gateway.serial("RS485-1").read_registers(1, 0, 1) == [2300]
        with pytest.raises(esdk.TimedOut):
            gateway.serial("RS485-1").read_registers(2, 0, 1)
        with pytest.raises(esdk.InvalidInput) as refused:
            gateway.serial("RS485-1").transact(b"", framing="morse", timeout_s=0)
        assert {problem["path"] for problem in refused.value.problems} == {"data", "framing.kind", "timeout_ms"}

    serve(tmp_path, scenario)


def test_what_is_not_granted_is_refused_with_the_key(tmp_path: Path) -> None:
    def scenario(gateway: esdk.Gateway, field: Field) -> None:
        with pytest.raises(esdk.NotPermitted) as refused:
            gateway.serial("RS485-2").transact(b"\x01")
        assert "x-esdk.serial.RS485-2: transact" in refused.value.hint
        with pytest.raises(esdk.NotPermitted) as refused:
            gateway.gpio("DI1").set(1)
        assert "x-esdk.gpio.DI1: write" in refused.value.hint
        with pytest.raises(esdk.NotPermitted):
            gateway.gpio("DO2").read()
        with pytest.raises(esdk.NotPermitted) as refused:
            gateway.tags.publish([{"tag": "other/x", "value": 1}])
        assert "x-esdk.tags.publish: [other/x]" in refused.value.hint
        with pytest.raises(esdk.NotPermitted):
            gateway.tags.read("other/#")

    serve(tmp_path, scenario)


def test_lines(tmp_path: Path) -> None:
    def scenario(gateway: esdk.Gateway, field: Field) -> None:
        assert gateway.gpio("DI1").read() == 1
        assert gateway.gpio("DO1").set(1)["value"] == 1
        assert field.lines["DO1"] == 1
        with pytest.raises(esdk.InvalidInput):
            gateway.gpio("DO1").set(2)

    serve(tmp_path, scenario)


def test_tags_are_published_read_and_followed(tmp_path: Path) -> None:
    def scenario(gateway: esdk.Gateway, field: Field) -> None:
        assert gateway.tags.publish([{"tag": "meter/power", "value": 1.5, "unit": "W"}])
        assert gateway.tags.publish([{"tag": "meter/energy", "value": 7}], durable=True)
        assert [durable for _, durable in field.ingested] == [False, True]
        (power,) = gateway.tags.read("meter/power")
        assert (power["value"], power["unit"], power["source"]) == (1.5, "W", "meter.reader")
        assert [tag["tag"] for tag in gateway.tags.read()] == ["meter/energy", "meter/power"]
        with pytest.raises(esdk.InvalidInput) as refused:
            gateway.tags.publish([{"tag": "meter/x", "value": 1}, {"tag": "no tag", "value": float("1e400")}])
        assert {problem["path"] for problem in refused.value.problems} == {"samples[1].tag", "samples[1].value"}
        with pytest.raises(esdk.InvalidInput) as refused:
            gateway.tags.publish([{"tag": 1, "value": []}, {"value": 1}])
        assert [problem["path"] for problem in refused.value.problems] == [
            "samples[0].tag", "samples[0].value", "samples[1].tag",
        ]  # fmt: skip

    serve(tmp_path, scenario)


def test_text_that_is_none_is_refused_and_spoils_nothing(tmp_path: Path) -> None:
    def scenario(gateway: esdk.Gateway, field: Field) -> None:
        assert gateway.tags.publish([{"tag": "meter/power", "value": 1.5}])
        for bad in ({"value": "\ud800"}, {"value": 1, "unit": "\ud800"}, {"value": 1, "\ud800": 1}):
            with pytest.raises(esdk.InvalidInput, match=r"samples\[0\]\.(value|unit|.ud800)"):
                gateway.tags.publish([{"tag": "meter/name", **bad}])
        assert [tag["tag"] for tag in gateway.tags.read()] == ["meter/power"]

    serve(tmp_path, scenario)


def test_events_end_with_the_container(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def main() -> None:
        field, endpoints = Field(), Endpoints(tmp_path)
        path = endpoints.bind(SPEC) / "esdk.sock"
        server = EsdkServer(endpoints.changes(), Ports(field, field, field, field, field), Limits(), 8)
        task = asyncio.create_task(server.run())
        gateway = esdk.Gateway(str(path))
        reader = asyncio.create_task(asyncio.to_thread(lambda: seen.extend(gateway.tags.events("meter/#"))))
        await asyncio.sleep(0.2)
        field.table.publish([Sample("meter/power", 3.0, 1)])
        await asyncio.sleep(0.1)
        endpoints.release(SPEC.container)
        async with asyncio.timeout(5):
            await reader
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_default_executor()

    asyncio.run(main())
    assert [event["value"] for event in seen] == [3.0]


def test_samples_wait_while_the_agent_is_away_and_keep_their_key(tmp_path: Path) -> None:
    def scenario(gateway: esdk.Gateway, field: Field) -> None:
        field.away = True
        assert not gateway.tags.publish([{"tag": "meter/energy", "value": 1}], durable=True)
        assert not gateway.tags.publish([{"tag": "meter/energy", "value": 2}], durable=True)
        assert gateway.tags.waiting == 2
        field.away = False
        assert gateway.tags.flush()
        assert gateway.tags.waiting == 0
        assert len({key for key, _ in field.ingested}) == 2

    serve(tmp_path, scenario)


def test_the_document_agrees_with_the_routes() -> None:
    assert openapi.TARGET.read_text() == openapi.render(), "run: python -m gateway.esdk_server.openapi"
    assert json.loads(openapi.render())["openapi"] == "3.1.0"
