"""Windows: every sample in exactly one record, right figures, whatever the clocks and the order."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from gateway.model.tags import Quality, Sample, Window
from gateway.pipeline.windows import Windows

S = 10**9
values = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1)
samples = st.builds(
    Sample,
    tag=st.sampled_from(["meter/power", "meter/voltage"]),
    value=values,
    time_ns=st.integers(0, 20 * S) | st.integers(0, 2**62),
    quality=st.sampled_from(list(Quality)),
)


@given(st.lists(st.tuples(samples, st.integers(0, 3 * S)), max_size=60), st.integers(1, 5 * S), st.integers(1, 8))
def test_every_sample_is_in_exactly_one_record(
    arrivals: list[tuple[Sample, int]], length_ns: int, max_open: int
) -> None:
    windows = Windows(length_ns, S // 4, max_open)
    now, records = 0, []
    for sample, pause in arrivals:
        now += pause
        records += windows.close_due(now)
        windows.add(sample, now)
        assert len(windows) <= max_open
    records += windows.close_all()
    assert windows.next_due_ns() is None
    assert windows.samples == 0
    assert sum(record.count for record in records if isinstance(record, Window)) == len(arrivals)
    for record in records:
        assert isinstance(record, Window)
        assert record.start_ns % length_ns == 0
        assert record.end_ns == record.start_ns + length_ns
        assert record.minimum <= record.mean <= record.maximum
        assert math.isfinite(record.mean)
        inside = [s for s, _ in arrivals if s.tag == record.tag and record.start_ns <= s.time_ns < record.end_ns]
        assert float(record.last) in [float(s.value) for s in inside]
        assert {record.minimum, record.maximum} <= {float(s.value) for s in inside}
        assert record.quality in [s.quality for s in inside]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_the_mean_is_the_mean(numbers: list[float]) -> None:
    windows = Windows(S, 0)
    for index, number in enumerate(numbers):
        windows.add(Sample("t", number, index), 0)
    (record,) = windows.close_all()
    assert isinstance(record, Window)
    assert math.isclose(record.mean, math.fsum(numbers) / len(numbers), rel_tol=1e-9, abs_tol=1e-6)
    assert record.last == numbers[-1]
    assert record.count == len(numbers)


def test_a_window_closes_its_lateness_after_its_end() -> None:
    windows = Windows(S, S // 4)
    windows.add(Sample("t", 1.0, 100 * S + S // 2), 7 * S)
    assert windows.next_due_ns() == 7 * S + S // 2 + S // 4
    assert windows.close_due(7 * S + 3 * S // 4 - 1) == []
    assert len(windows.close_due(7 * S + 3 * S // 4)) == 1


def test_a_clock_far_in_the_future_disturbs_nobody() -> None:
    windows = Windows(S, 0)
    windows.add(Sample("mad", 1.0, 2**62), 0)
    windows.add(Sample("sane", 1.0, 5 * S), 0)
    windows.add(Sample("sane", 3.0, 5 * S + 1), 10)
    closed = windows.close_due(S)
    assert {(r.tag, r.count) for r in closed if isinstance(r, Window)} == {("mad", 1), ("sane", 2)}


def test_late_samples_make_a_second_record_of_the_same_interval() -> None:
    windows = Windows(S, 0)
    windows.add(Sample("t", 1.0, 5 * S), 0)
    (first,) = windows.close_due(S)
    windows.add(Sample("t", 9.0, 5 * S + 2), 2 * S)
    (second,) = windows.close_due(4 * S)
    assert isinstance(first, Window)
    assert isinstance(second, Window)
    assert (first.start_ns, first.end_ns, first.mean) == (second.start_ns, second.end_ns, 1.0)
    assert (second.mean, second.count) == (9.0, 1)


def test_the_worst_quality_shows_and_states_keep_their_last_sample() -> None:
    windows = Windows(S, 0)
    windows.add(Sample("n", 1, 1, "W"), 0)
    windows.add(Sample("n", 2, 2, "kW", Quality.BAD), 0)
    windows.add(Sample("b", True, 3), 0)
    windows.add(Sample("b", False, 1), 0)
    number, state = windows.close_all()
    assert isinstance(number, Window)
    assert (number.unit, number.quality, number.last) == ("kW", Quality.BAD, 2.0)
    assert state == Sample("b", True, 3)


def test_numbers_and_states_of_one_tag_do_not_mix() -> None:
    windows = Windows(S, 0)
    windows.add(Sample("t", 1, 1), 0)
    windows.add(Sample("t", True, 2), 0)
    windows.add(Sample("t", "on", 3), 0)
    records = windows.close_all()
    assert [type(r) for r in records] == [Window, Sample]
    assert records[1] == Sample("t", "on", 3)
