"""Signed operations, from the message to the answer: done once, by whom the profile lets, and never by a replay."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.documents.envelope import PrivateKey
from gateway.documents.operation import accept_operation, encode_operation, sign_operation
from gateway.errors import Corrupted
from gateway.model.enrolment import Enrolment
from gateway.model.operations import AcceptedOperation, Op, Operation, decode_answer, encode_confirm
from gateway.model.profile import AuthorityCaps
from gateway.model.trust import Expected
from gateway.operations import Operations, Rooms
from gateway.operations.audit import Audit
from gateway.operations.remote import Remote
from gateway.reconcile.loop import Reconciler
from gateway.trust.challenges import LIFETIME_S, Challenges
from tests.unit.reconcile.agent import Site, app, report, until

KEY, PARTNER = PrivateKey.generate(), PrivateKey.generate()
SECRET = "ab" * 32
ENROLMENT = Enrolment("gw", "1", "broker", 8883, SECRET, {})
EVERYTHING = AuthorityCaps(operations=tuple(Op))
UNUSED = cast("Any", None)
"""Rooms that no operation asks."""


class Worker:
    """The border worker without its process."""

    async def operation(self, envelope: bytes, expected: Sequence[Expected]) -> AcceptedOperation:
        return accept_operation(envelope, expected)


@dataclass
class Keys:
    caps: dict[str, AuthorityCaps]

    def operators(self) -> list[Expected]:
        keys = {"cloud": KEY, "partner": PARTNER}
        return [
            Expected("gw", "1", name, {keys[name].id: keys[name].public}, 1, caps) for name, caps in self.caps.items()
        ]


@dataclass
class World:
    """One agent's life. `now` is its monotonic clock."""

    remote: Remote
    audit: Audit
    site: Site
    agent: Reconciler
    now: float = 0.0

    def __post_init__(self) -> None:
        self._ids = count(1)

    async def challenge(self) -> dict[str, Any]:
        answer = await self.remote.operate("challenge", b"n" * 16)
        assert answer is not None
        return dict(decode_answer(bytes.fromhex(SECRET), json.loads(answer)).result)

    async def signed(self, op: Op, key: PrivateKey = KEY, **members: Any) -> bytes:
        given_out = await self.challenge()
        fixed = Operation(
            "gw", "1", "cloud", f"{next(self._ids):032x}", given_out["challenge"], given_out["boot_id"], op, "app"
        )
        return sign_operation(encode_operation(replace(fixed, **members)), [key])

    async def send(self, op: str, message: bytes) -> dict[str, Any]:
        """The answer, authentic."""
        answer = await self.remote.operate(op, message)
        assert answer is not None
        decoded = decode_answer(bytes.fromhex(SECRET), json.loads(answer))
        assert (decoded.gateway, decoded.incarnation, decoded.op) == ("gw", "1", op)
        return {"result": decoded.result, "error": decoded.error, "id": decoded.id}

    async def ask(self, op: Op, **members: Any) -> dict[str, Any]:
        return await self.send(op, await self.signed(op, **members))

    async def refused(self, op: Op, **members: Any) -> str:
        error = (await self.ask(op, **members))["error"]
        assert error is not None
        return f"{error['code']}: {error['message']} {error.get('hint', '')}"


@asynccontextmanager
async def world(directory: Path, caps: dict[str, AuthorityCaps] | None = None) -> AsyncIterator[World]:
    """An agent with one healthy APP of `cloud`, in a life of its own."""
    site = Site(directory)
    site.desire(app("one"))
    async with site.agent() as agent:
        await until(lambda: (r := report(agent)) is not None and bool(r.services[0].pid))
        audit = Audit(directory / "audit.jsonl")
        audit.load()
        acceptance = cast("Any", NoRefusals())
        rooms = Rooms(acceptance, agent, agent._engine, UNUSED, UNUSED, UNUSED, UNUSED, UNUSED, audit, UNUSED)
        operations = Operations(ENROLMENT, "board", rooms, asyncio.Event())
        tokens = count(1)
        found = World(cast("Any", None), audit, site, agent)
        challenges = Challenges("boot-1", lambda: f"{next(tokens):032x}")
        keys = Keys({"cloud": EVERYTHING} if caps is None else caps)
        found.remote = Remote(ENROLMENT, Worker(), keys, operations, challenges, lambda: found.now)
        yield found


class NoRefusals:
    """An `Acceptance` that has refused nothing."""

    def refusals(self) -> list[Any]:
        return []


def play(
    directory: Path, scenario: Callable[[World], Awaitable[None]], caps: dict[str, AuthorityCaps] | None = None
) -> None:
    async def main() -> None:
        async with world(directory, caps) as lives:
            await scenario(lives)

    asyncio.run(main())


def test_each_operation_answers(tmp_path: Path) -> None:
    async def scenario(gateway: World) -> None:
        why = (await gateway.ask(Op.WHY))["result"]
        assert why["app"] == "app"
        assert [entry["service"] for entry in (await gateway.ask(Op.STATS, app=""))["result"]] == ["main"]
        logs = (await gateway.ask(Op.LOGS, tail=5))["result"]
        assert set(logs) == {"lines", "truncated", "record"}
        done = (await gateway.ask(Op.EXEC, argv=("true",), asked_by="alice"))["result"]
        assert (done["exit_code"], base64.b64decode(done["output"])) == (0, b"")
        assert done["record"]["by"] == "authority cloud (alice)"
        restarted = (await gateway.ask(Op.RESTART))["result"]
        assert (restarted["order"], restarted["version"]) == ("restart", "one")
        await until(lambda: (r := report(gateway.agent)) is not None and r.rollout == "done")
        assert (await gateway.ask(Op.PIN))["result"]["order"] == "pin"
        assert (await gateway.ask(Op.PIN, undo=True))["result"]["order"] == "unpin"
        assert "no version before one" in await gateway.refused(Op.ROLLBACK)
        assert [entry.op for entry in gateway.audit.entries()] == [
            "logs",
            "exec",
            "restart",
            "pin",
            "unpin",
            "rollback",
        ]

    play(tmp_path, scenario)


def test_the_same_message_gets_the_same_answer_and_is_done_once(tmp_path: Path) -> None:
    async def scenario(gateway: World) -> None:
        message = await gateway.signed(Op.EXEC, argv=("true",))
        first, second = await asyncio.gather(
            gateway.remote.operate("exec", message), gateway.remote.operate("exec", message)
        )
        assert first is not None
        assert second is None, "while it is being done it is not begun again"
        assert await gateway.remote.operate("exec", message) == first
        assert len(gateway.audit.entries()) == 1
        error = (await gateway.send("pin", message))["error"]
        assert error is not None
        assert "it came as pin, but asks for exec" in error["message"]
        assert await gateway.remote.operate("exec", message) == first, "the refusal has not taken its place"

        request = json.loads(first)["request"]
        with pytest.raises(Corrupted):
            gateway.remote.confirmed(encode_confirm(bytes(32), "gw", request))
        assert gateway.remote.answers.find(request, "exec") == first, "a forged confirmation frees nothing"
        gateway.remote.confirmed(encode_confirm(bytes.fromhex(SECRET), "gw", request))
        assert gateway.remote.answers.find(request, "exec") is None
        error = (await gateway.send("exec", message))["error"]
        assert error is not None
        assert "cannot do operation 0" in error["message"]
        assert "it ended: done, exit code 0" in error["message"]
        assert len(gateway.audit.entries()) == 1

    play(tmp_path, scenario)


def test_another_agent_does_not_do_it_again_but_knows_what_came_of_it(tmp_path: Path) -> None:
    kept: list[bytes] = []

    async def first(gateway: World) -> None:
        kept.append(await gateway.signed(Op.EXEC, argv=("true",)))
        kept.append(await gateway.signed(Op.WHY))
        await gateway.send("exec", kept[0])

    async def second(gateway: World) -> None:
        error = (await gateway.send("exec", kept[0]))["error"]
        assert error is not None
        assert "it ended: done, exit code 0, output sha256:" in error["message"]
        # Its challenge was given by the first agent; this one happens to have given none yet.
        error = (await gateway.send("why", kept[1]))["error"]
        assert error is not None
        assert "its challenge is none of those" in error["message"]
        assert len(gateway.audit.entries()) == 1

    play(tmp_path, first)
    play(tmp_path, second)


def test_an_operation_that_the_agent_did_not_survive_has_no_known_end(tmp_path: Path) -> None:
    kept: list[bytes] = []

    async def first(gateway: World) -> None:
        kept.append(await gateway.signed(Op.EXEC, argv=("true",), id="d" * 32))

    play(tmp_path, first)
    path = tmp_path / "audit.jsonl"
    path.write_text(json.dumps({"id": "d" * 32, "by": "authority cloud", "op": "exec", "app": "app"}) + "\n")

    async def second(gateway: World) -> None:
        error = (await gateway.send("exec", kept[0]))["error"]
        assert error is not None
        assert "its end is not known" in error["message"]

    play(tmp_path, second)


def test_what_is_refused_says_why_and_does_nothing(tmp_path: Path) -> None:
    async def scenario(gateway: World) -> None:
        assert "is for gateway other, this is gw" in await gateway.refused(Op.RESTART, gateway="other")
        assert "is for incarnation 0, this is 1" in await gateway.refused(Op.RESTART, incarnation="0")
        assert "another boot" in await gateway.refused(Op.RESTART, boot_id="boot-0")
        assert "none of those" in await gateway.refused(Op.RESTART, challenge="f" * 32)
        used = (await gateway.challenge())["challenge"]
        assert (await gateway.ask(Op.WHY, challenge=used))["error"] is None
        assert "conflict: cannot accept the operation: its challenge was used before" in await gateway.refused(
            Op.RESTART, challenge=used
        )
        message = await gateway.signed(Op.RESTART)
        gateway.now += LIFETIME_S + 1
        error = (await gateway.send("restart", message))["error"]
        assert error is not None
        assert "expired 1 s ago" in error["message"]
        error = (await gateway.send("why", await gateway.signed(Op.RESTART)))["error"]
        assert error is not None
        assert "it came as why, but asks for restart" in error["message"]
        error = (await gateway.send("restart", await gateway.signed(Op.RESTART, key=PARTNER)))["error"]
        assert error is not None
        assert error["code"] == "not_permitted"
        assert "cannot find APP other" in await gateway.refused(Op.RESTART, app="other")
        assert gateway.audit.entries() == []
        assert gateway.site.machine.history == ["create app.main.1", "start app.main.1"]

    play(tmp_path, scenario)


def test_an_authority_asks_for_what_the_profile_lists_and_about_its_own_apps(tmp_path: Path) -> None:
    async def scenario(gateway: World) -> None:
        for op in set(Op) - {Op.WHY, Op.STATS}:
            members = {"argv": ("true",)} if op is Op.EXEC else {}
            assert "authorities.cloud.operations" in await gateway.refused(op, **members)
        assert (await gateway.ask(Op.WHY))["error"] is None
        as_partner: dict[str, Any] = {"key": PARTNER, "authority": "partner"}
        assert "it belongs to authority cloud, not to partner" in await gateway.refused(
            Op.EXEC, argv=("x",), **as_partner
        )
        assert (await gateway.ask(Op.STATS, app="", **as_partner))["result"] == []
        assert gateway.audit.entries() == []

    play(tmp_path, scenario, {"cloud": AuthorityCaps(), "partner": EVERYTHING})


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from([*Op, "challenge", "reboot"]), st.binary(max_size=200))
def test_any_bytes_get_an_answer_and_nothing_is_kept(tmp_path: Path, op: str, message: bytes) -> None:
    async def main() -> None:
        audit = Audit(tmp_path / "audit.jsonl")
        rooms = Rooms(UNUSED, UNUSED, UNUSED, UNUSED, UNUSED, UNUSED, UNUSED, UNUSED, audit, UNUSED)
        operations = Operations(ENROLMENT, "board", rooms, asyncio.Event())
        remote = Remote(ENROLMENT, Worker(), Keys({"cloud": EVERYTHING}), operations, Challenges("b", lambda: "0" * 32))
        answer = await remote.operate(op, message)
        assert answer is not None
        decoded = decode_answer(bytes.fromhex(SECRET), json.loads(answer))
        assert (decoded.error is None) == (op == "challenge" and len(message) <= 64)
        assert remote.answers.next_due_s() is None

    asyncio.run(main())
