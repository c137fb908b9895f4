"""What names stand for: refreshed, kept while they take turns, held without an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.network.names import KEEP_S, MAX_ADDRESSES, REFRESH_S, Known, Names, answered, failed


def test_servers_that_take_turns_stay_allowed_for_an_hour() -> None:
    known = answered(Known({}), ["192.0.2.1"], 0.0)
    known = answered(known, ["192.0.2.2"], 60.0)
    assert (known.last, set(known.seen)) == (("192.0.2.2",), {"192.0.2.1", "192.0.2.2"})
    known = answered(known, ["192.0.2.3"], KEEP_S)
    assert set(known.seen) == {"192.0.2.2", "192.0.2.3"}
    many = answered(known, [f"198.51.100.{index}" for index in range(200)], KEEP_S)
    assert len(many.last) == len(many.seen) == MAX_ADDRESSES
    assert set(many.last) == set(many.seen)


def test_without_an_answer_the_last_one_holds() -> None:
    known = failed(answered(Known({}), ["192.0.2.1"], 0.0), 60.0)
    assert known.last == ("192.0.2.1",)
    assert known.due == 65.0
    for _ in range(20):
        known = failed(known, 100.0)
    assert known.due == 100.0 + REFRESH_S


def test_only_what_is_due_is_asked_for() -> None:
    asked: list[str] = []

    async def look_up(name: str) -> Sequence[str]:
        asked.append(name)
        return ["192.0.2.1"] if name != "gone.test" else []

    async def main() -> None:
        names = Names(look_up, {"known.test": ["192.0.2.9"]})
        assert names.allowed == {"known.test": ("192.0.2.9",)}
        assert names.unknown({"known.test", "new.test"}) == {"new.test"}
        assert await names.refresh({"known.test", "new.test", "gone.test"}, 1000.0)
        assert asked == ["gone.test", "known.test", "new.test"]
        assert not await names.refresh({"known.test", "new.test"}, 1001.0)
        assert asked == ["gone.test", "known.test", "new.test"]
        assert not await names.refresh({"new.test"}, 1000.0 + REFRESH_S)
        assert asked[3:] == ["new.test"]
        names.keep_only({"new.test"})
        assert names.current == {"new.test": ("192.0.2.1",)}

    asyncio.run(main())
