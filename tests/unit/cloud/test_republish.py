"""When a desired state goes out again."""

from __future__ import annotations

import itertools

from cloud.republish import FIRST_PAUSE_S, LAST_PAUSE_S, Republication


def test_only_an_online_gateway_that_is_behind_is_due() -> None:
    fleet = Republication()
    fleet.want("gw", 3)
    assert fleet.due(0.0) == []  # not heard of yet
    for reported, due in ((0, ["gw"]), (2, ["gw"]), (3, []), (4, []), (None, [])):
        fleet.report("gw", reported)
        assert fleet.due(0.0) == due
    fleet.report("other", 0)
    assert fleet.due(0.0) == []  # nothing is wanted of it


def test_a_gateway_that_refuses_is_asked_ever_more_rarely() -> None:
    fleet = Republication()
    fleet.want("gw", 1)
    fleet.report("gw", 0)
    times, now = [], 0.0
    while len(times) < 12:
        if fleet.due(now):
            fleet.published("gw", now)
            times.append(now)
        now += 0.5
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LAST_PAUSE_S


def test_a_new_revision_and_a_new_connection_begin_anew() -> None:
    fleet = Republication()
    fleet.want("gw", 1)
    fleet.report("gw", 0)
    for now in range(6):
        fleet.published("gw", float(now))
    assert fleet.due(5.0 + FIRST_PAUSE_S) == []
    fleet.report("gw", 0)
    assert fleet.due(5.0 + FIRST_PAUSE_S) == ["gw"]
    fleet.published("gw", 100.0)
    fleet.want("gw", 2)
    assert fleet.due(100.0) == ["gw"]
