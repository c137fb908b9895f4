"""Local responses: which lines are to be held at which value, given the samples so far. Pure.

A rule is active from the sample that goes beyond its limit to the one that has come back by the hysteresis:
`above: 100, hysteresis: 10` sets at more than 100 and clears at 90 or less. A sample that is not of good quality, or is
text, neither sets nor clears; a bool counts as 1 or 0.

A new rule waits for its tag's next sample: what lies in the tag table may be old. Until then nobody knows whether it is
active. If it turns out that it is not, it lets go of its line like a rule that was active: the agent may have been
killed while it was, and the line kept its level. With several rules on a line the last of them to know speaks for all,
so that the line does not fall between two of them.

Several samples of a tag in one call are history but for the last: all of them move the rule (hysteresis needs the way),
only the outcome has an effect. So a batch that was held up does not make an output flicker. Used by `pipeline.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.model.app import Rule
from gateway.model.tags import Quality, Sample


@dataclass(frozen=True, slots=True)
class Hold:
    """From now on `rule` (its id) wants `line` at `value`."""

    rule: str
    line: str
    value: int


@dataclass(frozen=True, slots=True)
class Release:
    """`rule` (its id) no longer wants anything of `line`."""

    rule: str
    line: str


Effect = Hold | Release


class _State:
    __slots__ = ("active", "id", "rule")

    def __init__(self, rule_id: str, rule: Rule) -> None:
        self.id = rule_id
        self.rule = rule
        self.active: bool | None = None
        """None: no sample has told yet."""

    def step(self, value: float) -> None:
        rule = self.rule
        if rule.above is not None:
            limit = rule.above - rule.hysteresis
            self.active = value > rule.above or (self.active is True and value > limit)
        elif rule.below is not None:
            limit = rule.below + rule.hysteresis
            self.active = value < rule.below or (self.active is True and value < limit)


class Rules:
    """The rules in force, by id (unique over all services)."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}
        self._of_tag: dict[str, list[_State]] = {}

    def configure(self, rules: Mapping[str, Rule]) -> list[Effect]:
        """Put `rules` in force in place of the former ones. Those that are gone, or want another thing, let go.

        A rule whose limits alone changed stays as it is until the next sample of its tag.
        """
        effects: list[Effect] = []
        states: dict[str, _State] = {}
        for rule_id, rule in rules.items():
            state = states[rule_id] = _State(rule_id, rule)
            former = self._states.get(rule_id)
            if former is not None:
                same = (former.rule.tag, former.rule.line, former.rule.value) == (rule.tag, rule.line, rule.value)
                state.active = former.active if same else None
        for rule_id, former in self._states.items():
            state_now = states.get(rule_id)
            if former.active is not False and (state_now is None or state_now.active is not former.active):
                effects.append(Release(rule_id, former.rule.line))
        self._states = states
        self._of_tag = {}
        for state in states.values():
            self._of_tag.setdefault(state.rule.tag, []).append(state)
        return effects

    def evaluate(self, samples: Sequence[Sample]) -> list[Effect]:
        """Take the samples in their order; what changed by the end of them."""
        touched: dict[str, tuple[_State, bool | None]] = {}
        of_tag = self._of_tag
        for sample in samples:
            states = of_tag.get(sample.tag)
            if states is None or sample.quality is not Quality.GOOD or isinstance(sample.value, str):
                continue
            for state in states:
                touched.setdefault(state.id, (state, state.active))
                state.step(float(sample.value))
        effects: list[Effect] = []
        for state, before in touched.values():
            line = state.rule.line
            if state.active is before:
                continue
            if state.active:
                effects.append(Hold(state.id, line, state.rule.value))
            elif before or not self._unknown(line):
                effects.append(Release(state.id, line))
        return effects

    def _unknown(self, line: str) -> bool:
        """Whether a rule of this line still waits for its first sample."""
        return any(state.active is None and state.rule.line == line for state in self._states.values())
