"""The gateway's link at a real broker, with the real outbox; a client speaks for the cloud."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.cloud_link import CloudLink, LinkPorts
from gateway.cloud_link.ports import News
from gateway.documents.certificates import make_authority
from gateway.errors import Conflict, Corrupted, FieldgateError
from gateway.lifecycle.queue import NewsQueue
from gateway.model.batches import BatchId, decode_batch, encode_confirmation
from gateway.model.config import Config
from gateway.model.enrolment import Enrolment
from gateway.model.reports import AppRemoved, AppReport, Phase, Rollout, ServiceReport
from gateway.model.tags import Sample
from gateway.operations.answers import Answers
from gateway.outbox.outbox import Outbox
from tests.site.broker import CLOUD, Broker
from tests.site.mqtt_client import MqttClient

GATEWAY = "gw-1"
BASE = f"fieldgate/v1/{GATEWAY}"
KEY = "ab" * 32
CONFIG = Config(uplink_window=2, uplink_resend_s=1.0)


def report(app: str, restarts: int = 0) -> AppReport:
    service = ServiceReport("main", Phase.HEALTHY, "image", restarts=restarts)
    return AppReport(app, "cloud", 1, "1.0", "sha256:1", Rollout.DONE, (service,))


class Echo:
    """Answers every request with itself."""

    def __init__(self) -> None:
        self.answers = Answers()

    async def operate(self, op: str, message: bytes) -> bytes | None:
        return message

    def confirmed(self, message: bytes) -> None:
        raise Corrupted("cannot accept the confirm: nothing was answered")

    def refused(self, op: str, message: bytes, failure: FieldgateError) -> bytes:
        return message


class World:
    """The rooms below the link; what was accepted is `accepted`, `bad` is refused."""

    def __init__(self, directory: Path, broker: Broker) -> None:
        self.broker = broker
        self.accepted: list[tuple[str, bytes]] = []
        self.chains: list[bytes] = []
        self.confirming: set[asyncio.Future[None]] = set()
        self.news: NewsQueue[News] = NewsQueue(100)
        self.apps = [report("one")]
        self.outbox = Outbox(directory / "outbox.sqlite", "1a2b", 1 << 20, 0.0)
        self.cloud = MqttClient(broker, broker.login(CLOUD), "fieldgate/v1/#")
        identity = directory / "identity"
        identity.mkdir()
        login = broker.login(GATEWAY)
        for source, name in ((login.ca, "ca.crt"), (login.certificate, "gateway.crt"), (login.key, "gateway.key")):
            (identity / name).write_bytes(source.read_bytes())
        enrolment = Enrolment(GATEWAY, "1a2b", "127.0.0.1", broker.port, KEY, {})
        ports = LinkPorts(self, self.succeed, self.outbox, self.news, lambda: self.apps, Echo(), "0.1", "boot")
        self.link = CloudLink(enrolment, identity, CONFIG, ports)

    async def accept(self, authority: str, envelope: bytes) -> None:
        if envelope == b"bad":
            raise Conflict("cannot accept revision 1: revision 2 is in force already")
        self.accepted.append((authority, envelope))

    def revisions(self) -> dict[str, int]:
        return {"cloud": len(self.accepted)}

    async def succeed(self, chain: bytes) -> bool:
        self.chains.append(chain)
        return True

    async def append(self, count: int) -> None:
        for number in range(count):
            await self.outbox.append("telemetry", [Sample("t", number, 1)])

    def batches(self) -> list[BatchId]:
        return [decode_batch(payload).id for payload in self.cloud.received(f"{BASE}/data/telemetry")]

    def confirm(self, batch: BatchId) -> None:
        self.cloud.publish(f"{BASE}/ack", encode_confirmation(bytes.fromhex(KEY), GATEWAY, batch))

    def confirm_by_itself(self) -> None:
        """From now on this cloud confirms what it gets; in a thread of its own, since publishing waits."""

        def begin(batch: BatchId) -> None:
            self.confirming.add(asyncio.ensure_future(asyncio.to_thread(self.confirm, batch)))

        def confirm(topic: str, payload: bytes) -> None:
            if topic.startswith(f"{BASE}/data/"):
                loop.call_soon_threadsafe(begin, decode_batch(payload).id)

        loop = asyncio.get_running_loop()
        self.cloud.on_message = confirm

    def last(self, topic: str) -> Any:
        payloads = self.cloud.received(topic)
        return json.loads(payloads[-1]) if payloads and payloads[-1] else None


async def until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(world: World) -> AsyncIterator[None]:
    await world.outbox.open()
    link = asyncio.create_task(world.link.run())
    try:
        yield
    finally:
        link.cancel()
        world.cloud.on_message = lambda topic, payload: None
        await asyncio.gather(link, *world.confirming, return_exceptions=True)
        await world.outbox.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Broker(tmp_path, make_authority("test")) as broker:
        made = World(tmp_path, broker)
        with made.cloud:
            yield made


def story(world: World, tell: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with running(world):
            await until(lambda: world.link.status().connected)
            await tell()

    asyncio.run(main())


def test_it_says_all_after_connecting_and_the_will_says_the_end(world: World) -> None:
    async def tell() -> None:
        await until(lambda: world.last(f"{BASE}/reported/one") is not None)
        status = world.last(f"{BASE}/status")
        assert status == {
            "online": True, "incarnation": "1a2b", "agent_version": "0.1", "revisions": {"cloud": 0}, "boot_id": "boot",
        }  # fmt: skip

        # Many changes in a moment: the first and the last are told, at most one a second.
        for restarts in range(1, 30):
            world.news.put(report("one", restarts))
        await until(lambda: world.last(f"{BASE}/reported/one")["services"][0].get("restarts") == 29)
        assert len(world.cloud.received(f"{BASE}/reported/one")) <= 3
        world.news.put(AppRemoved("one"))
        await until(lambda: world.cloud.received(f"{BASE}/reported/one")[-1] == b"")

    story(world, tell)
    asyncio.run(until(lambda: world.last(f"{BASE}/status") == {"incarnation": "1a2b", "online": False}))


def test_batches_wait_for_the_clouds_confirmation(world: World) -> None:
    async def tell() -> None:
        await world.append(5)
        await until(lambda: len(set(world.batches())) == 2)
        await asyncio.sleep(0.5)
        assert {(b.first, b.last) for b in world.batches()} == {(1, 1), (2, 2)}, "the window is two"
        assert world.link.status().in_flight == 2
        await until(lambda: len(world.batches()) >= 4)
        assert set(world.batches()[:2]) == set(world.batches()[2:4]), "not confirmed in time: sent again"
        forged = encode_confirmation(bytes(32), GATEWAY, world.batches()[0])
        await asyncio.to_thread(world.cloud.publish, f"{BASE}/ack", forged)
        await asyncio.to_thread(world.confirm, BatchId("1a2b", "telemetry", world.batches()[0].epoch, 1, 1))
        await until(lambda: any(b.first == 3 for b in world.batches()))
        assert world.outbox.stats().streams[0].confirmed == 1
        world.confirm_by_itself()
        await until(lambda: world.outbox.stats().streams[0].pending == 0)
        assert world.outbox.stats().streams[0].confirmed == 5

    story(world, tell)


def test_a_broker_that_dies_loses_nothing(world: World) -> None:
    async def tell() -> None:
        await world.append(2)
        await until(lambda: len(set(world.batches())) == 2)
        world.broker.kill()
        await until(lambda: not world.link.status().connected)
        assert world.link.status().error
        await world.append(6)
        await asyncio.to_thread(world.broker.start)
        await asyncio.to_thread(until_connected, world.cloud)
        world.confirm_by_itself()
        await until(lambda: world.outbox.stats().streams[0].pending == 0, 40)
        assert {number for b in world.batches() for number in range(b.first, b.last + 1)} == set(range(1, 9))
        assert world.last(f"{BASE}/status")["online"]

    story(world, tell)


def until_connected(client: MqttClient) -> None:
    from tests.site.processes import wait_until

    wait_until(lambda: client.connected, "the cloud at the broker", 20)


def test_what_comes_down_is_taken_or_refused_and_nothing_bad_ends_the_session(world: World) -> None:
    async def tell() -> None:
        publish = world.cloud.publish
        for topic, payload in (
            ("ack", b"\xff\x00"), ("ack", b"{}"), ("ack", b"[" * 5000), ("desired/cloud", b"bad"),
            ("keys", b"chain"), ("desired/cloud", b"good"), ("desired/contractor", b"other"),
            ("request/why", b"asked"), ("request/confirm", b"forged"),
        ):  # fmt: skip
            await asyncio.to_thread(publish, f"{BASE}/{topic}", payload)
            await asyncio.sleep(0.02)
        await until(lambda: len(world.accepted) == 2 and world.chains == [b"chain"])
        assert world.accepted == [("cloud", b"good"), ("contractor", b"other")]
        refused = world.last(f"{BASE}/progress")
        assert refused["kind"] == "refused"
        assert refused["authority"] == "cloud"
        assert refused["code"] == "conflict"
        assert "revision 2 is in force" in refused["text"]
        await until(lambda: world.last(f"{BASE}/status")["revisions"] == {"cloud": 2})
        await until(lambda: world.cloud.received(f"{BASE}/response/why") == [b"asked"])
        assert world.link.status().attempts == 1

    story(world, tell)
