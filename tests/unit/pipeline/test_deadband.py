"""Deadbands, freshness and the backlog: what goes up, what is news, what is kept while the disk takes nothing."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gateway.model.app import Deadband
from gateway.model.batches import Record
from gateway.model.tags import Quality, Sample, Window
from gateway.pipeline.backlog import Backlog
from gateway.pipeline.deadband import Deadbands
from gateway.pipeline.freshness import LIVE_NS, Freshness

S = 10**9


def window(mean: float, second: int = 0, tag: str = "meter/power") -> Window:
    return Window(tag, second * S, (second + 1) * S, mean, mean, mean, mean, 1, "W")


def test_the_larger_of_absolute_and_percent_holds() -> None:
    bands = Deadbands({"meter/#": Deadband(absolute=5, percent=1)})
    passed = [bands.passes(window(mean)) for mean in (1000, 1009, 990, 1011, 100, 105, 106)]
    assert passed == [True, False, False, True, True, False, True]


def test_steps_that_are_each_too_small_pass_once_they_add_up() -> None:
    bands = Deadbands({"meter/power": Deadband(absolute=5)})
    assert [bands.passes(window(mean)) for mean in (0, 3, 5, 6)] == [True, False, False, True]


def test_silence_quality_and_unit_pass_whatever_the_value() -> None:
    bands = Deadbands({"#": Deadband(absolute=100, max_silence_s=10)})
    assert [bands.passes(window(1, second)) for second in (0, 9, 10, 11)] == [True, False, True, False]
    assert bands.passes(replace(window(1, 12), quality=Quality.BAD))
    assert bands.passes(replace(window(1, 13), quality=Quality.BAD, unit="kW"))
    assert bands.passes(replace(window(1, 0), quality=Quality.BAD, unit="kW")), "the clock was set back"


def test_the_longest_pattern_holds_and_what_none_covers_always_passes() -> None:
    bands = Deadbands({"meter/#": Deadband(absolute=1e9), "meter/power": Deadband()})
    assert [bands.passes(window(mean)) for mean in (1, 1.5)] == [True, True]
    assert [bands.passes(window(mean, tag="meter/voltage")) for mean in (1, 2)] == [True, False]
    assert [bands.passes(window(1, tag="other")) for _ in range(3)] == [True, True, True]


def test_states_pass_when_they_change() -> None:
    bands = Deadbands({})
    states: list[Record] = [Sample("door", value, S) for value in (True, True, False, 0, "open", "open")]
    assert [bands.passes(state) for state in states] == [True, False, True, True, True, False]
    assert bands.passes(Sample("door", "open", 61 * S)), "a sign of life"


def test_what_is_older_than_known_is_history_for_a_while() -> None:
    fresh = Freshness()
    new, old = Sample("t", 1, 100), Sample("t", 2, 50)
    assert fresh.news([old, new, old], 0) == [old, new]
    assert fresh.news([old, Sample("u", 1, 1)], LIVE_NS) == [Sample("u", 1, 1)]
    assert fresh.news([old], LIVE_NS + 1) == [old], "its clock was set back"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 7)), max_size=30), st.integers(1, 12))
def test_the_backlog_keeps_order_and_counts_what_it_drops(puts: list[tuple[str, int]], limit: int) -> None:
    backlog, total = Backlog(limit), 0
    for stream, count in puts:
        backlog.put(stream, [Sample(stream, total + index, 1) for index in range(count)])
        total += count
        taken = backlog.take(stream, 2)
        backlog.put_back(stream, taken)
    left = [record for stream in backlog.streams() for record in backlog.take(stream, 10**6)]
    assert len(left) == total - backlog.dropped <= limit
    assert len(backlog) == 0
    for stream in "ab":
        numbers = [r.value for r in left if isinstance(r, Sample) and r.tag == stream]
        assert numbers == sorted(numbers, key=float)
