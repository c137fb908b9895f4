"""The fake gateway of `esdk.testing` answers as the real eSDK server does: the same calls against both."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import esdk
from esdk.testing import FakeGateway
from tests.site.processes import Daemon, accepts_unix, wait_until

GPIO = {"DO1": "write", "DI1": "read"}


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    path = directory / "endpoints" / "app.main.1" / "esdk.sock"
    daemon = Daemon([sys.executable, "-m", "tests.site.esdk_process", str(path.parents[1]), "app"], directory / "log")
    daemon.start(lambda: accepts_unix(path))
    yield path
    daemon.stop()
    shutil.rmtree(directory)


@pytest.fixture(params=["fake", "real"])
def gateway(request: pytest.FixtureRequest, server: Path) -> Iterator[esdk.Gateway]:
    if request.param == "real":
        with esdk.Gateway(str(server), timeout_s=5) as made:
            yield made
        return
    with (
        FakeGateway(serial=["RS485-1"], gpio=GPIO, publish=["meter/#"], read=["weather/+"]) as fake,
        esdk.Gateway(fake.path, timeout_s=5) as made,
    ):
        yield made


def refused(call: Callable[[], Any]) -> tuple[str, str, str]:
    """Class, message and hint of the error."""
    with pytest.raises(esdk.EsdkError) as failure:
        call()
    return type(failure.value).__name__, failure.value.message, failure.value.hint


def test_who_am_i(gateway: esdk.Gateway) -> None:
    app = gateway.app()
    assert {"app", "service", "generation", "version", "settings", "grant"} <= set(app)
    assert gateway.settings() == {}


def test_the_time(gateway: esdk.Gateway) -> None:
    system = gateway.system()
    assert abs(system["time"]["unix_ns"] - time.time_ns()) < 5e9
    assert isinstance(system["board"], str)


def test_what_is_published_can_be_read(gateway: esdk.Gateway) -> None:
    now = time.time_ns()
    sent = {"tag": "meter/power", "value": 1200.5, "unit": "W", "quality": "uncertain", "time_ns": now}
    assert gateway.tags.publish([sent, {"tag": "meter/ok", "value": True}])
    by_tag = {sample["tag"]: sample for sample in gateway.tags.read("meter/+")}
    assert {**by_tag["meter/power"], "source": ""} == {**sent, "source": ""}
    assert by_tag["meter/ok"]["value"] is True
    assert by_tag["meter/ok"]["quality"] == "good"
    assert gateway.tags.publish([sent], durable=True)


def test_events_arrive_as_they_come(gateway: esdk.Gateway) -> None:
    stop = threading.Event()

    def publish() -> None:
        for number in itertools.count():
            if stop.wait(0.02):
                return
            gateway.tags.publish([{"tag": "meter/count", "value": number}])

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        with esdk.Gateway(gateway._connection._path, timeout_s=5) as reader:
            events = reader.tags.events("meter/#")
            first, second = next(events), next(events)
            events.close()  # type: ignore[attr-defined]
    finally:
        stop.set()
        publisher.join()
    assert first["tag"] == second["tag"] == "meter/count"
    assert second["value"] == first["value"] + 1


def test_lines(gateway: esdk.Gateway) -> None:
    line = gateway.gpio("DO1")
    state = line.set(1)
    assert (state["line"], state["value"], state["decided_by"], state["available"]) == ("DO1", 1, "app", True)
    assert line.read() == 1
    assert line.set(0)["value"] == 0
    assert gateway.gpio("DI1").read() in (0, 1)


def test_what_the_manifest_does_not_grant_names_the_key(gateway: esdk.Gateway) -> None:
    assert refused(lambda: gateway.tags.publish([{"tag": "other/x", "value": 1}])) == (
        "NotPermitted", "cannot publish tag other/x: the APP's manifest does not grant it",
        "x-esdk.tags.publish: [other/x] would allow it",
    )  # fmt: skip
    assert refused(lambda: gateway.gpio("DO2").set(1)) == (
        "NotPermitted", "cannot set line DO2: the APP's manifest does not grant it",
        "x-esdk.gpio.DO2: write would allow it",
    )  # fmt: skip
    assert refused(lambda: gateway.gpio("DI1").set(1))[2] == "x-esdk.gpio.DI1: write would allow it"
    assert refused(lambda: gateway.gpio("DO2").read())[2] == "x-esdk.gpio.DO2: read would allow it"
    assert (
        refused(lambda: gateway.serial("RS485-2").transact(b"\x01"))[2]
        == "x-esdk.serial.RS485-2: transact would allow it"
    )


def test_wrong_input_is_refused(gateway: esdk.Gateway) -> None:
    assert refused(lambda: gateway.gpio("DO1").set(2))[0] == "InvalidInput"
    wait_until(lambda: gateway.tags.waiting == 0, "nothing waiting", 1)


def test_what_was_perhaps_taken_waits_under_its_key() -> None:
    for code in ("unavailable", "timed_out"):
        with FakeGateway(publish=["meter/#"]) as fake, esdk.Gateway(fake.path, timeout_s=5) as made:
            fake.fail("POST", "/v1/tags", code)
            assert not made.tags.publish([{"tag": "meter/energy", "value": 1}], durable=True)
            assert made.tags.waiting == 1
            assert made.tags.flush()
            assert len(fake.published) == 1


def test_a_connection_too_many_is_no_fault_of_the_request(server: Path) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(16):
            held.enter_context(socket.socket(socket.AF_UNIX)).connect(str(server))
        time.sleep(0.1)
        with esdk.Gateway(str(server), timeout_s=5) as one_more:
            assert not one_more.tags.publish([{"tag": "meter/energy", "value": 1}], durable=True)
            assert one_more.tags.waiting == 1, "it waits, and goes when there is room"
            held.close()
            wait_until(one_more.tags.flush, "room for it", 5)
