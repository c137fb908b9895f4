"""Nobody starves, nobody overtakes himself, nothing is lost."""

from __future__ import annotations

import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Unavailable
from gateway.field.fair_queue import FairQueue

LIMIT = 4
OWNERS = st.sampled_from("abc")
STEPS = st.lists(st.one_of(OWNERS, st.none()), max_size=60)


@given(STEPS)
def test_against_a_plain_round_robin(steps: list[str | None]) -> None:
    """A step puts an item of that owner, or takes one."""
    queue: FairQueue[tuple[str, int]] = FairQueue(LIMIT)
    turn: list[str] = []
    waiting: dict[str, list[int]] = collections.defaultdict(list)
    refused = 0
    for number, owner in enumerate(steps):
        if owner is None:
            if not turn:
                with pytest.raises(IndexError):
                    queue.take()
                continue
            served = turn.pop(0)
            assert queue.take() == (served, waiting[served].pop(0))
            if waiting[served]:
                turn.append(served)
        elif len(waiting[owner]) == LIMIT:
            refused += 1
            with pytest.raises(Unavailable, match=f"{owner} has {LIMIT} waiting already"):
                queue.put(owner, (owner, number))
        else:
            queue.put(owner, (owner, number))
            waiting[owner].append(number)
            if owner not in turn:
                turn.append(owner)
        assert len(queue) == sum(map(len, waiting.values()))
    assert queue.refused == refused
    assert sorted(queue.drain()) == sorted((owner, item) for owner, items in waiting.items() for item in items)
    assert len(queue) == 0


@given(st.lists(OWNERS, min_size=1, max_size=30))
def test_before_ones_second_item_everybody_has_had_a_turn(owners: list[str]) -> None:
    queue: FairQueue[str] = FairQueue(len(owners))
    for owner in owners:
        queue.put(owner, owner)
    first_turns = [queue.take() for _ in set(owners)]
    assert sorted(first_turns) == sorted(set(owners))
