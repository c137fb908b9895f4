"""Operations as the cloud asks for them: written down, sent until answered, answers kept whenever they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cloud import operating as operating_room
from cloud.events import Events
from cloud.operating import Operating
from cloud.operation_store import MAX_OPERATIONS, OperationRow, OperationStore, State
from gateway.documents.envelope import peek
from gateway.errors import Conflict, FieldgateError, InvalidInput, NotFound
from gateway.model.operations import Answer, decode_confirm, encode_answer, request_id
from gateway.model.wire import canonical
from tests.unit.cloud.site import GATEWAY, Site, opened

WHY = {"op": "why", "app": "meter", "asked_by": "alice"}
RESEND_S = 0.05


@dataclass
class World:
    """The cloud's side, and a gateway that answers as `answer(op, message)` says; None: nothing comes."""

    site: Site
    answer: Callable[[str, bytes], Any] = lambda op, message: None
    published: list[tuple[str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.key = bytes.fromhex(json.loads(self.site.enrolled.enrolment)["confirmation_key"])
        self.store = OperationStore(self.site.database)
        self.operating = Operating(self.site.database, self.site.store, self.store, Events(), self._publish)

    def _publish(self, topic: str, message: bytes) -> bool:
        op = topic.rpartition("/")[2]
        self.published.append((op, message))
        if (said := self.answer(op, message)) is not None:
            asyncio.get_running_loop().call_soon(self.arrive, op, message, said)
        return True

    def arrive(self, op: str, message: bytes, said: Any, key: bytes | None = None) -> None:
        """What the gateway says comes in, as the server takes it."""
        error = said.to_json() if isinstance(said, FieldgateError) else None
        result = None if error else said
        answer = Answer(GATEWAY, self.site.incarnation, op, request_id(message), "", result, error)
        topic = f"fieldgate/v1/{GATEWAY}/response/{op}"
        for known, confirms in self.site.ingest.take([(topic, encode_answer(key or self.key, answer))]).answers:
            self.operating.answered(known, confirms)

    def sent(self, op: str) -> list[bytes]:
        return [message for name, message in self.published if name == op]

    async def until(self, identity: str, *states: State) -> OperationRow:
        async with asyncio.timeout(10):
            while (row := self.store.get(identity)).state not in states:
                await asyncio.sleep(0.01)
        return row


CHALLENGE = {"challenge": "c" * 32, "boot_id": "boot-1", "lifetime_s": 120.0}


def normal(op: str, message: bytes) -> Any:
    return {"challenge": CHALLENGE, "confirm": None}.get(op, {"said": op})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operating_room, "RESEND_S", RESEND_S)


def play(directory: Path, scenario: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        with opened(directory) as site:
            world = World(site)
            running = asyncio.create_task(world.operating.run())
            try:
                await scenario(world)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())


def test_challenge_signature_answer_confirmation(tmp_path: Path) -> None:
    async def scenario(cloud: World) -> None:
        cloud.answer = normal
        identity = await cloud.operating.ask(GATEWAY, WHY)
        row = await cloud.until(identity, State.ANSWERED)
        assert (row.result, row.error, row.asked_by, row.arguments) == ({"said": "why"}, None, "alice", {})
        payload = json.loads(peek(cloud.sent("why")[0])[1])
        assert payload == {
            "gateway": GATEWAY, "incarnation": cloud.site.incarnation, "authority": "cloud", "id": identity,
            "op": "why", "app": "meter", "asked_by": "alice", "challenge": "c" * 32, "boot_id": "boot-1",
        }  # fmt: skip
        (confirmed,) = cloud.sent("confirm")
        assert decode_confirm(cloud.key, GATEWAY, confirmed) == request_id(cloud.sent("why")[0])

    play(tmp_path, scenario)


def test_what_is_lost_is_sent_again_the_same_bytes(tmp_path: Path) -> None:
    async def scenario(cloud: World) -> None:
        cloud.answer = lambda op, message: normal(op, message) if len(cloud.sent(op)) >= 3 else None
        identity = await cloud.operating.ask(GATEWAY, WHY)
        await cloud.until(identity, State.ANSWERED)
        for op in ("challenge", "why"):
            assert len(cloud.sent(op)) == 3
            assert len(set(cloud.sent(op))) == 1

    play(tmp_path, scenario)


def test_an_answer_that_comes_late_is_kept_and_confirmed_by_the_next_cloud_too(tmp_path: Path) -> None:
    async def scenario(cloud: World) -> None:
        cloud.answer = lambda op, message: CHALLENGE if op == "challenge" else None
        given_up = await cloud.operating.ask(GATEWAY, WHY, 0.3)
        await cloud.until(given_up, State.UNANSWERED)
        cloud.arrive("why", cloud.sent("why")[0], {"said": "late"})
        assert (cloud.store.get(given_up).state, cloud.store.get(given_up).result) == (State.ANSWERED, {"said": "late"})
        assert len(cloud.sent("confirm")) == 1

        cut_short = await cloud.operating.ask(GATEWAY, WHY)
        row = await cloud.until(cut_short, State.SENT)
        async with asyncio.timeout(10):
            while request_id(cloud.sent("why")[-1]) != row.request:
                await asyncio.sleep(0.01)
        after = World(cloud.site)  # the cloud was restarted
        after.arrive("why", cloud.sent("why")[-1], {"said": "later"})
        assert after.store.get(cut_short).result == {"said": "later"}
        assert len(after.sent("confirm")) == 1

    play(tmp_path, scenario)


def test_no_answer_says_so(tmp_path: Path) -> None:
    async def scenario(cloud: World) -> None:
        identity = await cloud.operating.ask(GATEWAY, WHY, 0.2)
        row = await cloud.until(identity, State.UNANSWERED)
        assert row.error is not None
        assert row.error["code"] == "timed_out"
        assert f"no answer of {GATEWAY}, which is offline" in row.error["message"]
        assert cloud.sent("why") == []

    play(tmp_path, scenario)


def test_a_refusal_is_an_answer(tmp_path: Path) -> None:
    async def scenario(cloud: World) -> None:
        cloud.answer = lambda op, message: CHALLENGE if op == "challenge" else Conflict("its challenge was used before")
        row = await cloud.until(await cloud.operating.ask(GATEWAY, WHY), State.ANSWERED)
        assert row.error == {"code": "conflict", "message": "its challenge was used before"}
        cloud.answer = lambda op, message: InvalidInput("too long")
        row = await cloud.until(await cloud.operating.ask(GATEWAY, WHY), State.ANSWERED)
        assert row.error == {"code": "invalid_input", "message": "too long"}

    play(tmp_path, scenario)


def test_what_did_not_come_from_the_gateway_is_dropped(tmp_path: Path) -> None:
    async def scenario(cloud: World) -> None:
        cloud.answer = lambda op, message: CHALLENGE if op == "challenge" else None
        identity = await cloud.operating.ask(GATEWAY, WHY)
        await cloud.until(identity, State.SENT)
        (envelope, *_) = cloud.sent("why") or [b""]
        cloud.arrive("why", envelope, {"said": "forged"}, key=bytes(32))
        for noise in (b"", b"[]", b"{}", b"\xff", canonical({"mac": 1})):
            cloud.site.ingest.take([(f"fieldgate/v1/{GATEWAY}/response/why", noise)])
        assert cloud.store.get(identity).state is State.SENT
        assert cloud.sent("confirm") == []
        assert cloud.site.ingest.counts["dropped"] >= 5

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("members", "cause"),
    [
        ({"op": "reboot"}, "cannot ask for 'reboot'"),
        ({"app": "meter"}, "cannot ask for 'None'"),
        ({**WHY, "argv": ["x"]}, "1 problem"),
        ({**WHY, "challenge": "c" * 32, "more": 1}, "more"),
        ({"op": "exec", "app": "meter"}, "1 problem"),
    ],
)
def test_what_a_gateway_would_refuse_is_not_even_asked(tmp_path: Path, members: dict[str, Any], cause: str) -> None:
    async def scenario(cloud: World) -> None:
        with pytest.raises(InvalidInput, match=cause):
            await cloud.operating.ask(GATEWAY, members)
        with pytest.raises(NotFound):
            await cloud.operating.ask("gw-unknown", WHY)
        with pytest.raises(InvalidInput, match="at most"):
            await cloud.operating.ask(GATEWAY, WHY, 1e9)
        assert cloud.store.of(GATEWAY) == []
        assert cloud.published == []

    play(tmp_path, scenario)


def test_the_record_is_bounded(tmp_path: Path) -> None:
    with opened(tmp_path) as site:
        store = OperationStore(site.database)
        for number in range(MAX_OPERATIONS + 3):
            store.add(OperationRow(f"{number:032x}", GATEWAY, "i", "why", "a", {}, "", number, State.ASKED))
        assert len(store.of(GATEWAY, 10_000)) == MAX_OPERATIONS
        with pytest.raises(NotFound):
            store.get(f"{0:032x}")
