"""Turns: never two at the same name, never two that wait for each other."""

from __future__ import annotations

import asyncio

from gateway.images.turns import Turns


def test_one_after_the_other_in_any_order_and_no_name_is_kept() -> None:
    turns, inside, most = Turns(), 0, 0

    async def one(*names: str) -> None:
        nonlocal inside, most
        async with turns.of(*names):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    async def all_of_them() -> None:
        async with asyncio.timeout(5):
            await asyncio.gather(*(one(*names) for names in [("a", "b"), ("b", "a"), ("a", "a"), ("b", "a")] * 5))

    asyncio.run(all_of_them())
    assert most == 1
    assert turns.__dict__ == {"_locks": {}}


def test_other_names_do_not_wait() -> None:
    async def scenario() -> None:
        turns = Turns()
        async with asyncio.timeout(5), turns.of("a"), turns.of("b"):
            pass

    asyncio.run(scenario())
