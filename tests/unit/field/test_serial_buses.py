"""Serial buses on a real pty pair: turns, time-outs, late answers, full queues, a device that goes and comes back."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from gateway.errors import FieldgateError, InvalidInput, NotFound, NotSupported, TimedOut, Unavailable
from gateway.field.serial_buses import SerialBuses
from tests.unit.field.wire import PORT, Wire, ask, bus_on, frame, is_open, reply


async def transact(
    buses: SerialBuses, request: bytes, *, framing: str = "modbus-rtu", timeout_s: float = 1.0, owner: str = "app.one"
) -> bytes:
    return await buses.transact(PORT.name, request, framing=framing, timeout_s=timeout_s, owner=owner)


def answering(wire: Wire) -> None:
    """Every read of a register is answered by its address."""
    wire.respond = lambda request: wire.say(reply(request[0], int.from_bytes(request[2:4], "big")))


def test_an_answer_in_pieces(tmp_path: Path) -> None:
    async def main() -> None:
        async with bus_on(tmp_path) as (buses, wire):
            whole = reply(1, 300)
            wire.respond = lambda request: wire.say_in_pieces([bytes([byte]) for byte in whole], 0.02)
            assert await transact(buses, ask(1, 5)) == whole
            assert wire.received == [ask(1, 5)]
            status = buses.status()[0]
            assert (status.open, status.answered, status.timed_out, status.waiting) == (True, 1, 0, 0)
            assert buses.names() == ("RS485-1",)

    asyncio.run(main())


def test_a_silent_device_costs_its_timeout_and_no_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with bus_on(tmp_path) as (buses, wire):
            began = time.monotonic()
            with pytest.raises(TimedOut, match=r"cannot get an answer on RS485-1: nothing complete within 0\.1 s"):
                await transact(buses, ask(1), timeout_s=0.1)
            assert 0.1 <= time.monotonic() - began < 1.0
            answering(wire)
            assert await transact(buses, ask(1, 7)) == reply(1, 7)
            assert buses.status()[0].timed_out == 1

    asyncio.run(main())


def test_a_late_answer_is_not_taken_for_the_next_one(tmp_path: Path) -> None:
    """Neither one that comes while nobody asks, nor another device's that comes while somebody waits."""

    async def main() -> None:
        async with bus_on(tmp_path) as (buses, wire):
            wire.respond = lambda request: wire.say_later(0.15, reply(request[0], 1))
            with pytest.raises(TimedOut):
                await transact(buses, ask(1), timeout_s=0.05)
            await asyncio.sleep(0.2)
            wire.respond = lambda request: wire.say(reply(request[0], 2))
            assert await transact(buses, ask(1), framing="length:7") == reply(1, 2)

            wire.respond = lambda request: None
            with pytest.raises(TimedOut):
                await transact(buses, ask(1), timeout_s=0.05)
            wire.respond = lambda request: wire.say(reply(1, 3) + reply(request[0], 4))
            assert await transact(buses, ask(2)) == reply(2, 4)

    asyncio.run(main())


def test_owners_take_turns(tmp_path: Path) -> None:
    async def main() -> None:
        async with bus_on(tmp_path) as (buses, wire):
            answering(wire)
            async with asyncio.TaskGroup() as group:
                for address in range(5):
                    group.create_task(transact(buses, ask(1, address), owner="chatty.one"))
                group.create_task(transact(buses, ask(2, 99), owner="quiet.one"))
            assert wire.received == [ask(1, 0), ask(2, 99), *(ask(1, address) for address in range(1, 5))]

    asyncio.run(main())


def test_the_queue_of_an_owner_is_bounded(tmp_path: Path) -> None:
    async def main() -> None:
        async with bus_on(tmp_path) as (buses, wire):
            wire.respond = lambda request: wire.say_later(0.02, reply(request[0], 0))
            many = [asyncio.create_task(transact(buses, ask(1, address), owner="chatty.one")) for address in range(12)]
            other = asyncio.create_task(transact(buses, ask(2), owner="quiet.one"))
            results = await asyncio.gather(*many, other, return_exceptions=True)
            refused = [result for result in results if isinstance(result, Unavailable)]
            assert len(refused) == 12 - 8 == buses.status()[0].refused
            assert str(refused[0]) == "cannot queue the request: chatty.one has 8 waiting already"
            assert results[-1] == reply(2, 0)

    asyncio.run(main())


def test_a_device_that_goes_and_comes_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with bus_on(tmp_path) as (buses, wire):
            asked = [asyncio.create_task(transact(buses, ask(1, at), timeout_s=9.0)) for at in range(3)]
            while not wire.received:
                await asyncio.sleep(0.005)
            began = time.monotonic()
            wire.unplug()
            for failure in await asyncio.gather(*asked, return_exceptions=True):
                assert isinstance(failure, Unavailable), failure
                assert str(tmp_path / "wire") in failure.message
            await is_open(buses, False)
            with pytest.raises(Unavailable, match="cannot use RS485-1: cannot"):
                await transact(buses, ask(1))
            assert time.monotonic() - began < 1.0, "told at once"
            assert buses.status()[0].fault
            answering(wire)
            wire.plug()
            await is_open(buses)
            assert buses.status()[0].fault == ""
            assert await transact(buses, ask(1, 8)) == reply(1, 8)

    asyncio.run(main())


def test_a_device_that_is_not_there_at_first(tmp_path: Path) -> None:
    async def main() -> None:
        async with bus_on(tmp_path, plugged=False) as (buses, wire):
            with pytest.raises(Unavailable, match=r"cannot use RS485-1: cannot open .*/wire: No such file"):
                await transact(buses, ask(1))
            answering(wire)
            wire.plug()
            await is_open(buses)
            assert await transact(buses, ask(1, 8)) == reply(1, 8)

    asyncio.run(main())


def test_a_caller_that_goes_away_does_not_disturb_the_next(tmp_path: Path) -> None:
    async def main() -> None:
        async with bus_on(tmp_path) as (buses, wire):
            wire.respond = lambda request: wire.say_later(0.1, reply(request[0], request[3]))
            gone = asyncio.create_task(transact(buses, ask(1, 1)))
            never_sent = asyncio.create_task(transact(buses, ask(1, 2)))
            after = asyncio.create_task(transact(buses, ask(1, 3)))
            while not wire.received:
                await asyncio.sleep(0.005)
            gone.cancel()
            never_sent.cancel()
            assert await after == reply(1, 3)
            assert wire.received == [ask(1, 1), ask(1, 3)]

    asyncio.run(main())


def test_a_broadcast_waits_for_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        async with bus_on(tmp_path) as (buses, wire):
            began = time.monotonic()
            assert await transact(buses, frame(0, 6, 0, 1, 0, 1), timeout_s=9.0) == b""
            assert 0.1 <= time.monotonic() - began < 1.0, "the devices' turnaround"
            assert len(wire.received) == 1

    asyncio.run(main())


def test_a_gap_ends_an_answer_of_unknown_length(tmp_path: Path) -> None:
    async def main() -> None:
        async with bus_on(tmp_path) as (buses, wire):
            wire.respond = lambda request: wire.say_in_pieces([b"part"] * 3, 0.03)
            assert await transact(buses, b"*IDN?\r", framing="gap:200", timeout_s=2.0) == b"partpartpart"
            wire.respond = lambda request: None
            with pytest.raises(TimedOut):
                await transact(buses, b"*IDN?\r", framing="gap", timeout_s=0.05)

    asyncio.run(main())


def test_a_line_that_is_never_silent_is_used_all_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        async with bus_on(tmp_path) as (buses, wire):

            async def babble() -> None:
                while True:
                    wire.say(b"\x55")
                    await asyncio.sleep(0.001)

            babbling = asyncio.create_task(babble())
            try:
                answering(wire)
                assert await transact(buses, ask(1, 5), timeout_s=5.0) == reply(1, 5)
            finally:
                babbling.cancel()
                await asyncio.gather(babbling, return_exceptions=True)

    asyncio.run(main())


def test_what_waits_when_the_agent_stops_is_told(tmp_path: Path) -> None:
    async def main() -> list[bytes | BaseException]:
        async with bus_on(tmp_path) as (buses, wire):
            asked = [asyncio.create_task(transact(buses, ask(1, at), timeout_s=9.0)) for at in range(2)]
            while not wire.received:
                await asyncio.sleep(0.005)
        return await asyncio.gather(*asked, return_exceptions=True)

    for failure in asyncio.run(main()):
        assert isinstance(failure, Unavailable)
        assert failure.message == "cannot use RS485-1: the agent stops"


@pytest.mark.parametrize(
    ("request_data", "framing", "timeout_s", "kind"),
    [
        (ask(1), "modbus-rtu", 0.0, InvalidInput),
        (ask(1), "modbus-rtu", 10.1, InvalidInput),
        (ask(1), "modbus-rtu", float("nan"), InvalidInput),
        (ask(1)[:-1], "modbus-rtu", 1.0, InvalidInput),
        (frame(1, 65), "modbus-rtu", 1.0, NotSupported),
        (b"x", "lines", 1.0, InvalidInput),
    ],
)
def test_what_is_refused_is_not_sent(
    tmp_path: Path, request_data: bytes, framing: str, timeout_s: float, kind: type[FieldgateError]
) -> None:
    async def main() -> None:
        async with bus_on(tmp_path) as (buses, wire):
            with pytest.raises(kind):
                await transact(buses, request_data, framing=framing, timeout_s=timeout_s)
            await asyncio.sleep(0.02)
            assert wire.received == []

    asyncio.run(main())


def test_no_such_port(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(NotFound, match="cannot use serial port COM9: this board has RS485-1"):
            await SerialBuses([PORT], tmp_path).transact("COM9", b"x", framing="gap", timeout_s=1.0, owner="app.one")

    asyncio.run(main())
