"""The tag table: latest values, limits, subscriptions that drop and count, and leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref

import pytest

from gateway.errors import Conflict, InvalidInput, Unavailable
from gateway.model.tags import Sample
from gateway.tags import table
from gateway.tags.table import TagTable


def sample(tag: str, value: float = 1.0, source: str = "app.service", time_ns: int = 1) -> Sample:
    return Sample(tag, value, time_ns, source=source)


def test_get_returns_the_latest_whoever_wrote_it() -> None:
    tags = TagTable()
    tags.publish([sample("meter/power", 1.0)])
    tags.publish([sample("meter/power", 2.0, source="other.service", time_ns=0)])
    latest = tags.get("meter/power")
    assert latest is not None
    assert (latest.value, latest.source) == (2.0, "other.service")
    assert tags.get("meter/voltage") is None


def test_select_by_patterns_is_sorted_and_has_no_repeats() -> None:
    tags = TagTable()
    tags.publish([sample(tag) for tag in ("meter/b", "env/temp", "meter/a", "meter")])
    assert [s.tag for s in tags.select(["meter/#", "meter/a", "+/temp"])] == ["env/temp", "meter", "meter/a", "meter/b"]
    assert tags.select([]) == []
    assert [s.tag for s in tags.select(["meter/a", "absent"])] == ["meter/a"]


def test_bad_patterns_and_names_are_refused() -> None:
    tags = TagTable()
    with pytest.raises(InvalidInput, match="pattern"):
        tags.select(["a/#/b"])
    with pytest.raises(InvalidInput, match="patterns"):
        tags.select(["a"] * (table.MAX_PATTERNS + 1))
    with pytest.raises(InvalidInput, match="tag name"):
        tags.publish([sample("good"), sample("bad tag")])
    assert len(tags) == 0


def test_limits_hold_and_a_refused_batch_changes_nothing() -> None:
    tags = TagTable(max_tags=4, max_tags_per_owner=3)
    tags.keep(["a.s", "b.s"])
    tags.publish([sample(f"a/{i}", source="a.s") for i in range(3)])
    with pytest.raises(Conflict, match=r"a\.s"):
        tags.publish([sample("a/0", 9.0, source="a.s"), sample("a/3", source="a.s")])
    with pytest.raises(Conflict, match="table holds 4"):
        tags.publish([sample(f"b/{i}", source="b.s") for i in range(2)])
    assert len(tags) == 3
    assert tags.get("a/0") == sample("a/0", source="a.s")


def test_tags_of_absent_owners_make_room() -> None:
    tags = TagTable(max_tags=3, max_tags_per_owner=3)
    tags.publish([sample(f"old/{i}", source="old.s") for i in range(3)])
    tags.keep(["new.s"])
    assert tags.get("old/1") is not None
    tags.publish([sample("new/0", source="new.s"), sample("old/2", source="new.s")])
    assert [s.tag for s in tags.select(["#"])] == ["new/0", "old/2"]
    tags.publish([sample("new/1", source="new.s")])
    with pytest.raises(Conflict):
        tags.publish([sample("new/2", source="new.s")])


def test_a_tag_that_changes_hands_counts_for_its_new_owner() -> None:
    tags = TagTable(max_tags=10, max_tags_per_owner=1)
    tags.publish([sample("x", source="a.s")])
    tags.publish([sample("x", source="b.s")])
    tags.publish([sample("y", source="a.s")])
    with pytest.raises(Conflict):
        tags.publish([sample("y", source="b.s")])


def test_subscription_gets_what_matches_and_ends_when_closed() -> None:
    async def scenario() -> list[str]:
        tags = TagTable()
        with tags.subscribe(["meter/#"], 10) as subscription:
            reader = asyncio.create_task(_read(subscription))
            await asyncio.sleep(0)
            tags.publish([sample("meter/a"), sample("env/a"), sample("meter/b")])
            await asyncio.sleep(0.01)
            tags.publish([sample("meter/c")])
        tags.publish([sample("meter/d")])
        return await asyncio.wait_for(reader, 1)

    assert asyncio.run(scenario()) == ["meter/a", "meter/b", "meter/c"]


async def _read(subscription: table.Subscription) -> list[str]:
    return [item.tag async for item in subscription]


def test_a_slow_reader_loses_the_oldest_and_counts() -> None:
    async def scenario() -> tuple[list[float], int]:
        tags = TagTable()
        subscription = tags.subscribe(["#"], 3)
        tags.publish([sample("x", float(i)) for i in range(10)])
        assert len(subscription) == 3
        subscription.close()
        subscription.close()
        return [float(s.value) async for s in subscription], subscription.dropped

    assert asyncio.run(scenario()) == ([7.0, 8.0, 9.0], 7)


def test_unsubscribing_leaves_nothing_behind() -> None:
    tags = TagTable()
    tags.publish([sample("x")])
    gone = []
    for _ in range(2 * table.MAX_SUBSCRIPTIONS):
        subscription = tags.subscribe(["x"], 1)
        tags.publish([sample("x")])
        gone.append(weakref.ref(subscription))
        subscription.close()
        del subscription
    gc.collect()
    assert not [ref for ref in gone if ref() is not None]


def test_subscriptions_are_bounded() -> None:
    tags = TagTable()
    open_ones = [tags.subscribe(["x"], 1) for _ in range(table.MAX_SUBSCRIPTIONS)]
    with pytest.raises(Unavailable):
        tags.subscribe(["x"], 1)
    open_ones[0].close()
    tags.subscribe(["x"], 1)


def test_publishing_is_fast() -> None:
    """A hundred samples to three readers: well under 200 us; the bound here is loose for a busy machine."""
    tags = TagTable()
    for _ in range(3):
        tags.subscribe(["m/#"], 256)
    batch = [sample(f"m/{i}") for i in range(100)]
    tags.publish(batch)
    best = min(_timed(lambda: tags.publish(batch)) for _ in range(50))
    assert best < 200e-6


def _timed(work: object) -> float:
    assert callable(work)
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
