"""Whether the memory limits of all APPs fit into the RAM: pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Unavailable
from gateway.model.app import App, Limits, Service
from gateway.reconcile.execute import check_memory

MIB = 1 << 20
RAM, RESERVED = 256 * MIB, 64 * MIB


def app(name: str, *limits_mib: int | None) -> App:
    services = (Service(f"s{n}", "i", limits=Limits(memory_bytes=m and m * MIB)) for n, m in enumerate(limits_mib))
    return App(name, tuple(services))


def test_what_fits_exactly_may_run_and_one_mebibyte_more_may_not() -> None:
    others = [app("a", 64), app("b", 32, 32)]
    check_memory(app("new", 60, 4), others, RAM, RESERVED)
    with pytest.raises(Unavailable) as refused:
        check_memory(app("new", 60, 5), others, RAM, RESERVED)
    assert refused.value.message == (
        "cannot start new: its memory limits are 65 MiB, but 64 MiB are free"
        " (RAM 256 MiB, system 64 MiB, other APPs 128 MiB)"
    )


def test_without_a_limit_nothing_is_known_and_nothing_refused() -> None:
    check_memory(app("new", None), [app("a", 192)], RAM, RESERVED)
    with pytest.raises(Unavailable, match="0 MiB are free"):
        check_memory(app("new", 1), [app("a", 1000)], RAM, RESERVED)


@given(st.lists(st.integers(1, 100), max_size=5), st.lists(st.integers(1, 100), max_size=5))
def test_it_is_the_sum_that_counts(mine: list[int], others: list[int]) -> None:
    fits = sum(mine) + sum(others) <= 192
    try:
        check_memory(app("new", *mine), [app(f"o{n}", m) for n, m in enumerate(others)], RAM, RESERVED)
    except Unavailable:
        assert not fits
    else:
        assert fits or not mine
