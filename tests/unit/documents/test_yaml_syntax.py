"""YAML as Compose files use it, and what hides in it."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.documents.yaml_syntax import parse_yaml
from gateway.errors import InvalidInput
from tests.unit.documents.test_syntax import VALUES

LIMIT = 1 << 20


class Quoting(yaml.SafeDumper):
    """PyYAML writes YAML 1.1, where a plain 0E0 is a string; in YAML 1.2 it is a number. So every string is quoted."""


Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def read(text: str) -> object:
    return parse_yaml(text.encode(), "it", LIMIT)


def test_plain_scalars_are_what_compose_reads() -> None:
    text = (
        "{a: no, b: 22:22, c: 1.20, d: 007, e: 0x1F, f: ~, g: true, h: 2020-01-01, i: '1', j: -3, k: 1e3, l: !!str 5}"
    )
    assert read(text) == {
        "a": "no", "b": "22:22", "c": 1.2, "d": "007", "e": 31, "f": None, "g": True, "h": "2020-01-01", "i": "1",
        "j": -3, "k": 1000.0, "l": "5",
    }  # fmt: skip


def test_anchors_and_merge_keys() -> None:
    text = """
x-base: &base {restart: always, user: a}
services:
  one: {<<: *base, image: i}
  two: {user: b, <<: [*base, {image: j, user: c}]}
  list: ["<<"]
"""
    document = read(text)
    assert isinstance(document, dict)
    assert document["services"] == {
        "one": {"restart": "always", "user": "a", "image": "i"},
        "two": {"restart": "always", "user": "b", "image": "j"},
        "list": ["<<"],
    }


def bomb(levels: int = 9) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (bomb(), "more than 20000 values"),
        ("a: &a [*a]", "inside what it names"),
        ("a: *b", "alias"),
        ("a: 1\nb: 2\na: 3", "line 3: key 'a' appears twice"),
        ("1: a", "key 1 is not a string"),
        ("? [a]\n: b", "is not a string"),
        ("a: !!python/object/apply:os.system [ls]", "tag .* is not supported"),
        ("a: !foo b", "tag !foo is not supported"),
        ("a: .nan", "not a finite number"),
        ("a: 1e999", "not a finite number"),
        ("--- 1\n--- 2", "more than one document"),
        ("[" * 5000, "deeper than 32"),
        ("a: [", "not YAML"),
        ("{<<: 5}", "takes a mapping"),
        ("a: '\\0'\nb: \"\\0\"", "holds a NUL"),
        ("- " * 40 + "x", "deeper than 32"),
        ("a: " + "9" * 30, "beyond 64 bits"),
    ],
)
def test_what_is_refused(text: str, cause: str) -> None:
    with pytest.raises(InvalidInput, match=cause):
        read(text)


def test_aliases_count_towards_depth() -> None:
    deep = "a: &a " + "[" * 20 + "]" * 20 + "\nb: " + "[" * 20 + "*a" + "]" * 20
    with pytest.raises(InvalidInput, match="deeper than 32"):
        read(deep)


@given(VALUES)
def test_what_was_written_comes_back(value: object) -> None:
    assert read(yaml.dump(value, Dumper=Quoting)) == value


@given(st.one_of(st.text(max_size=100), st.text("ab:-[]{}&*!<#'\"\n ,|>?%@0.", max_size=60)))
def test_arbitrary_text_never_crashes(text: str) -> None:
    try:
        parse_yaml(text.encode(errors="surrogatepass"), "it", LIMIT)
    except InvalidInput as failure:
        assert failure.message.startswith("cannot read it: ")  # noqa: PT017
