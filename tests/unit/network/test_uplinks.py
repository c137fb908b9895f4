"""Which uplink is used: the first that works; one that comes back must prove itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.model.profile import Uplink
from gateway.network.uplinks import FAILED_METRIC, STEADY_S, Decision, Seen, Uplinks, decide

ORDER = ("eth0", "wwan0", "wlan0")
UP, NO_CABLE, NO_ROUTE = Seen(True, frozenset({100})), Seen(False, frozenset({100})), Seen(True)
SEEN = st.fixed_dictionaries({name: st.sampled_from([UP, NO_CABLE, NO_ROUTE]) for name in ORDER})


def after(*rounds: tuple[float, dict[str, Seen]]) -> Decision:
    decision = Decision({}, "", {})
    for now, seen in rounds:
        known = {name: seen.get(name, NO_CABLE) for name in ORDER}
        decision = decide(ORDER, known, decision.states, decision.used, now)
    return decision


def test_the_first_that_works_is_used_at_once() -> None:
    assert after((0.0, {"eth0": UP, "wwan0": UP})).used == "eth0"
    assert after((0.0, {"eth0": NO_ROUTE, "wwan0": UP})).used == "wwan0"
    assert after((0.0, {})).used == ""


def test_a_failure_counts_at_once_and_a_return_later() -> None:
    both, one = {"eth0": UP, "wwan0": UP}, {"eth0": NO_CABLE, "wwan0": UP}
    assert after((0.0, both), (20.0, one)).used == "wwan0"
    returned = after((0.0, both), (20.0, one), (22.0, both))
    assert returned.used == "wwan0"
    assert returned.metrics["wwan0"] < FAILED_METRIC <= returned.metrics["eth0"]
    assert after((0.0, both), (20.0, one), (22.0, both), (22.0 + STEADY_S, both)).used == "eth0"


def test_a_link_that_has_just_come_back_is_better_than_none() -> None:
    gone: list[tuple[float, dict[str, Seen]]] = [(0.0, {"eth0": UP}), (20.0, {}), (21.0, {"wwan0": UP})]
    assert after(*gone).used == "wwan0"
    assert after(*gone, (22.0, {"wwan0": UP, "eth0": UP})).used == "wwan0"


@given(st.lists(st.tuples(st.floats(0.1, 30.0), SEEN), min_size=1, max_size=12))
def test_what_is_used_works_and_has_the_lowest_metric(rounds: list[tuple[float, dict[str, Seen]]]) -> None:
    decision, now = Decision({}, "", {}), 0.0
    for pause, seen in rounds:
        now += pause
        decision = decide(ORDER, seen, decision.states, decision.used, now)
        working = [name for name in ORDER if seen[name].works]
        assert (decision.used in working) if working else (decision.used == "")
        assert len(set(decision.metrics.values())) == len(ORDER)
        if working:
            assert decision.metrics[decision.used] == min(decision.metrics[name] for name in working)
        for name in ORDER:
            assert decision.states[name].works == seen[name].works


def test_what_is_shown() -> None:
    uplinks = Uplinks([Uplink("wwan0", "cellular", True)])
    assert uplinks.status() == [
        {"interface": "wwan0", "kind": "cellular", "metered": True, "up": False, "in_use": False, "since_ns": 0}
    ]
    assert [(link.name, link.up) for link in uplinks.links()] == [("wwan0", False)]
