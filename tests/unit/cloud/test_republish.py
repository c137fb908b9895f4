"""When a desired state goes out again."""

from __future__ import annotations

import itertools

from cloud.republish import FIRST_PAUSE_S, GRACE_S, LAST_PAUSE_S, Republication


def test_only_an_online_gateway_that_is_behind_is_due() -> None:
    fleet = Republication()
    fleet.want("gw", 3)
    assert fleet.due(0.0) == []  # not heard of yet
    now = 0.0
    for reported, due in ((0, ["gw"]), (2, ["gw"]), (3, []), (4, []), (None, [])):
        fleet.report("gw", reported, now)
        assert fleet.due(now) == []  # what is retained may still reach it
        now += GRACE_S
        assert fleet.due(now) == due
    fleet.report("other", 0, 0.0)
    assert fleet.due(now) == []  # nothing is wanted of it


def test_a_gateway_that_refuses_is_asked_ever_more_rarely() -> None:
    fleet = Republication()
    fleet.want("gw", 1)
    fleet.report("gw", 0, 0.0)
    times, now = [], 0.0
    while len(times) < 12:
        if fleet.due(now):
            fleet.published("gw", now)
            times.append(now)
        now += 0.5
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert times[0] == GRACE_S
    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LAST_PAUSE_S


def test_a_new_revision_and_a_new_connection_begin_anew() -> None:
    fleet = Republication()
    fleet.want("gw", 1)
    fleet.report("gw", 0, -GRACE_S)
    for now in range(6):
        fleet.published("gw", float(now))
    assert fleet.due(5.0 + FIRST_PAUSE_S) == []
    fleet.report("gw", 0, 5.0)  # again the same: no new grace
    assert fleet.due(5.0 + FIRST_PAUSE_S) == ["gw"]
    fleet.published("gw", 100.0)
    fleet.want("gw", 2)
    assert fleet.due(100.0) == ["gw"]
