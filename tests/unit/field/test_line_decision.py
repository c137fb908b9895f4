"""Who decides about a line, whatever the order of events: checked against a model that only remembers the events."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.field.line_decision import LineDecision

VALUES = st.integers(0, 1)
NAMES = st.sampled_from(["first", "second", "third"])
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("hold"), NAMES, VALUES),
        st.tuples(st.just("wish"), NAMES, VALUES),
        st.tuples(st.sampled_from(["release", "forget"]), NAMES),
    ),
    max_size=25,
)
Event = tuple[Any, ...]


def standing(events: list[Event], begins: str, ends: str) -> list[int]:
    """Values that still stand, the latest last: of each name the last event counts."""
    last = {event[1]: event for event in events if event[0] in (begins, ends)}
    return [event[2] for event in events if last.get(event[1]) is event and event[0] == begins]


def expected(events: list[Event], safe_value: int, keep: bool) -> tuple[int | None, str]:
    if rules := standing(events, "hold", "release"):
        return rules[-1], "rule"
    if wishes := standing(events, "wish", "forget"):
        return wishes[-1], "app"
    decided = any(event[0] != "forget" for event in events)
    return (safe_value if decided or not keep else None), "safe"


def apply(decision: LineDecision, event: Event) -> bool:
    return getattr(decision, event[0])(*event[1:]) is not False


@given(EVENTS, VALUES, st.booleans())
def test_safe_over_rule_over_app(events: list[Event], safe_value: int, keep: bool) -> None:
    # Equal events must be told apart by identity.
    events = [(*event[:2], *event[2:]) for event in events]
    decision = LineDecision(safe_value, keep)
    assert decision.now() == expected([], safe_value, keep)
    for count, event in enumerate(events, 1):
        before = decision.now()
        changed = apply(decision, event)
        assert decision.now() == expected(events[:count], safe_value, keep)
        assert changed or decision.now() == before, "False: nothing to drive"


@given(EVENTS, EVENTS, VALUES, st.booleans())
def test_nobody_overrules_the_safe_state(before: list[Event], after: list[Event], safe_value: int, keep: bool) -> None:
    decision = LineDecision(safe_value, keep)
    for event in before:
        apply(decision, event)
    decision.force_safe()
    for event in after:
        assert decision.now() == (safe_value, "safe")
        apply(decision, event)
    assert decision.now() == (safe_value, "safe")


def test_a_kept_level_is_left_alone_until_a_rule_has_looked() -> None:
    decision = LineDecision(safe_value=0, keep=True)
    assert decision.forget("app.one") is False
    assert decision.now() == (None, "safe")
    assert decision.release("rule") is True, "the rule has seen a good sample and does not want the line"
    assert decision.now() == (0, "safe")
    assert decision.release("rule") is False
