"""The codec of dataclasses: everything that does not fit is named at once, by path."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.errors import InvalidInput
from gateway.model.tags import Quality
from gateway.model.wire import from_wire, to_wire


@dataclass(frozen=True, slots=True)
class Inner:
    number: int
    quality: Quality = Quality.GOOD


@dataclass(frozen=True, slots=True)
class Outer:
    name: str
    inner: tuple[Inner, ...] = ()
    table: dict[str, float] = field(default_factory=dict)
    either: Inner | None = None


def faults(document: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refused:
        from_wire(Outer, document)
    return {problem.path: problem.message for problem in refused.value.problems}


def test_what_is_written_is_read() -> None:
    outer = Outer("a", (Inner(1), Inner(2, Quality.BAD)), {"x": 1.0}, Inner(3))
    assert from_wire(Outer, json.loads(json.dumps(to_wire(outer)))) == outer


def test_all_faults_at_once_each_with_its_path() -> None:
    document = {"inner": [{"number": "1"}, {"number": 1, "quality": "best"}, 7, {"more": 1}], "table": {"x": None}}
    assert faults(document) == {
        "inner[0].number": 'expected int, got "1"',
        "inner[1].quality": 'expected one of good, uncertain, bad, got "best"',
        "inner[2]": "expected an object, got 7",
        "inner[3].more": "unknown key of Inner",
        "inner[3].number": "missing key of Inner",
        "table.x": "expected float, got null",
        "name": "missing key of Outer",
    }


def test_one_fault_is_one_sentence() -> None:
    for document, sentence in (
        ({"name": 1}, "cannot read name: expected str, got 1"),
        ({}, "cannot read name: missing key of Outer"),
        ({"name": "a", "either": {"number": True}}, "cannot read either.number: expected int, got true"),
        ([], "cannot read the document: expected an object, got []"),
    ):
        with pytest.raises(InvalidInput) as refused:
            from_wire(Outer, document)
        assert str(refused.value) == sentence


def test_many_faults_and_long_keys_make_no_long_error() -> None:
    long = "\ud800" + "k" * 10_000
    document = {"name": "a", "inner": [{long: 1}] * 1000, "table": {long: "x"}}
    with pytest.raises(InvalidInput, match="2001 problems") as refused:
        from_wire(Outer, document)
    assert len(str(refused.value).encode()) < 10_000
