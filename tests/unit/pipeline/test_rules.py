"""Rules: hysteresis, what a new rule knows, several rules on one line, batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.model.app import Rule
from gateway.model.tags import Quality, Sample
from gateway.pipeline.rules import Effect, Hold, Release, Rules

OVERLOAD = Rule("overload", "meter/power", "DO1", 1, above=5000, hysteresis=500)
STARVED = Rule("starved", "meter/power", "DO1", 0, below=10, hysteresis=5)


def power(value: float | bool | str, quality: Quality = Quality.GOOD) -> Sample:
    return Sample("meter/power", value, 1, "W", quality)


def rules(**table: Rule) -> Rules:
    made = Rules()
    assert made.configure(table) == []
    return made


def test_it_sets_beyond_the_limit_and_clears_after_the_hysteresis() -> None:
    made = rules(a=OVERLOAD)
    assert made.evaluate([power(4999)]) == [Release("a", "DO1")]
    steps = [made.evaluate([power(value)]) for value in (5000, 5001, 4800, 4501, 4500, 4999)]
    assert steps == [[], [Hold("a", "DO1", 1)], [], [], [Release("a", "DO1")], []]


def test_below() -> None:
    made = rules(a=STARVED)
    steps = [made.evaluate([power(value)]) for value in (10, 9, 14, 15)]
    assert steps == [[Release("a", "DO1")], [Hold("a", "DO1", 0)], [], [Release("a", "DO1")]]


def test_what_is_not_good_decides_nothing() -> None:
    made = rules(a=OVERLOAD)
    assert made.evaluate([power(9000, Quality.BAD), power(9000, Quality.UNCERTAIN), power("9000")]) == []
    assert made.evaluate([power(True)]) == [Release("a", "DO1")]
    assert made.evaluate([Sample("meter/voltage", 9000, 1)]) == []


def test_only_the_outcome_of_a_batch_has_an_effect() -> None:
    made = rules(a=OVERLOAD)
    made.evaluate([power(0)])
    assert made.evaluate([power(6000), power(0)]) == []
    assert made.evaluate([power(6000), power(4600)]) == [Hold("a", "DO1", 1)]


def test_a_line_does_not_fall_between_two_rules_that_do_not_know_yet() -> None:
    other = Rule("hot", "motor/temperature", "DO1", 1, above=90)
    made = rules(a=OVERLOAD, b=other)
    assert made.evaluate([power(0)]) == [], "the temperature may hold the line: it has not told"
    assert made.evaluate([Sample("motor/temperature", 95, 1)]) == [Hold("b", "DO1", 1)]
    made = rules(a=OVERLOAD, b=other)
    made.evaluate([power(0)])
    assert made.evaluate([Sample("motor/temperature", 20, 1)]) == [Release("b", "DO1")]


def test_rules_that_go_or_change_let_go() -> None:
    made = rules(a=OVERLOAD)
    made.evaluate([power(6000)])
    assert made.configure({"a": OVERLOAD}) == []
    milder = Rule("overload", "meter/power", "DO1", 1, above=7000)
    assert made.configure({"a": milder}) == [], "another limit waits for the next sample"
    assert made.evaluate([power(6000)]) == [Release("a", "DO1")]
    made.evaluate([power(8000)])
    assert made.configure({"a": Rule("overload", "meter/power", "DO2", 1, above=7000)}) == [Release("a", "DO1")]
    made.evaluate([power(8000)])
    assert made.configure({}) == [Release("a", "DO2")]


@given(st.lists(st.floats(0, 10_000), max_size=40), st.lists(st.integers(1, 5), max_size=20))
def test_batches_end_where_single_samples_end(values: list[float], cuts: list[int]) -> None:
    one, batched = rules(a=OVERLOAD, b=STARVED), rules(a=OVERLOAD, b=STARVED)
    held_by_one: dict[str, bool] = {}
    held_by_batch: dict[str, bool] = {}
    _apply(held_by_one, [effect for value in values for effect in one.evaluate([power(value)])])
    rest = list(values)
    for cut in [*cuts, len(values)]:
        _apply(held_by_batch, batched.evaluate([power(value) for value in rest[:cut]]))
        rest = rest[cut:]
    assert {k for k, v in held_by_one.items() if v} == {k for k, v in held_by_batch.items() if v}


def _apply(held: dict[str, bool], effects: list[Effect]) -> None:
    for effect in effects:
        held[effect.rule] = isinstance(effect, Hold)
