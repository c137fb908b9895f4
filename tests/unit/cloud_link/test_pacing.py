"""Newest wins, not too often, never lost."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from gateway.cloud_link.pacing import Pacing


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), max_size=60))
def test_the_last_word_always_gets_through_and_never_too_often(puts: list[tuple[str, int]]) -> None:
    pacing: Pacing[tuple[str, int]] = Pacing(10)
    now, sent, last = 0.0, [], {}
    for number, (key, tenths) in enumerate(puts):
        now += tenths / 10
        sent += [(now, item) for item in pacing.due(now)]
        pacing.put(key, (key, number), 1.0)
        last[key] = number
        due = pacing.next_due_s()
        assert due is not None
    while (due := pacing.next_due_s()) is not None:
        now = max(now, due)
        sent += [(now, item) for item in pacing.due(now)]
    for key, number in last.items():
        mine = [(when, item[1]) for when, item in sent if item[0] == key]
        assert mine[-1][1] == number
        times = [when for when, _ in mine]
        assert all(later - earlier >= 0.999 for earlier, later in itertools.pairwise(times))


def test_it_is_bounded() -> None:
    pacing: Pacing[int] = Pacing(3)
    for number in range(10):
        pacing.put(str(number), number, 0.0)
    assert pacing.due(0.0) == [7, 8, 9]
