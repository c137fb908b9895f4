"""Slots: stable, unique, and given on only when none is left."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Unavailable
from gateway.network.ipam import Slots, assign

NAMES = st.sampled_from([f"app.s{number}" for number in range(12)])


@given(
    st.dictionaries(NAMES, st.integers(0, 12), max_size=12).filter(
        lambda known: len(set(known.values())) == len(known)
    ),
    st.lists(NAMES, max_size=6, unique=True),
    st.sets(NAMES, max_size=6),
    st.integers(2, 12),
)
def test_who_has_a_slot_keeps_it(known: dict[str, int], wanted: list[str], in_use: set[str], slots: int) -> None:
    try:
        assigned = assign(known, wanted, in_use, slots)
    except Unavailable:
        assert len({*wanted, *(name for name in in_use if name in known)}) > slots - 1
        return
    assert set(wanted) <= set(assigned)
    assert len(set(assigned.values())) == len(assigned)
    assert all(2 <= slot <= slots for slot in assigned.values())
    for name, slot in known.items():
        if 2 <= slot <= slots and (name in in_use or name in wanted):
            assert assigned[name] == slot


def test_a_removed_service_finds_its_slot_again_until_none_is_left() -> None:
    known = assign({}, ["a.x", "b.x"], [], 4)
    assert known == {"a.x": 2, "b.x": 3}
    known = assign(known, ["c.x"], ["b.x"], 4)
    assert known["a.x"] == 2
    known = assign(known, ["d.x"], ["b.x", "c.x"], 4)
    assert known == {"b.x": 3, "c.x": 4, "d.x": 2}
    with pytest.raises(Unavailable, match=r"cannot give e\.x an address: all 3 are in use"):
        assign(known, ["e.x"], ["b.x", "c.x", "d.x"], 4)


def test_they_are_remembered(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "addresses.json", 254)
    slots.load()
    assert not slots.has(["a.x"])
    slots.claim(["a.x", "a.y"], [])
    again = Slots(tmp_path / "addresses.json", 254)
    again.load()
    assert again.known == {"a.x": 2, "a.y": 3}
    assert again.has(["a.y", "a.x"])
    assert not Slots(tmp_path / "addresses.json", 2).has(["a.y"])
