"""The Containerfile subset: what it means, and that everything else is refused by name and line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagebuild import BuildError
from imagebuild.containerfile import Copy, parse


def test_everything_that_is_supported() -> None:
    found = parse(
        "# an APP\nFROM docker.io/library/python:3.11-slim\n\nENV A=b \\\n  # why\n  C='d e'\nWORKDIR /app\n"
        'copy esdk/ ./esdk\nCOPY a b dir/\nUSER 65534:65534\nENTRYPOINT ["python3", "-m", "reader"]\nCMD ["--x"]\n'
    )
    assert found.base == "docker.io/library/python:3.11-slim"
    assert found.environment == {"A": "b", "C": "d e"}
    assert found.copies == [Copy(("esdk",), "/app/esdk", 8), Copy(("a", "b"), "/app/dir/", 9)]
    assert (found.working_dir, found.user) == ("/app", "65534:65534")
    assert (found.entrypoint, found.command) == (["python3", "-m", "reader"], ["--x"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("RUN apt-get update", "line 2: RUN: this instruction is not supported"),
        ("LABEL a=b", "line 2: LABEL: this instruction is not supported"),
        ("FROM other", "line 2: FROM: several stages"),
        ("COPY --from=x a b", "line 2: COPY: the option --from"),
        ("COPY ../x /y", "leads out of the build context"),
        ("COPY *.py /y/", "leads out of the build context, or is a pattern"),
        ("COPY a", "takes sources and a target"),
        ("COPY a b c", "the target must end in /"),
        ("CMD python3 app.py", "takes the JSON form"),
        ("ENTRYPOINT []", "takes the JSON form"),
        ("ENV KEY value", "takes KEY=value"),
        ("ENV A='b", "line 2: ENV: No closing quotation"),
        ("ENV A=$B", "variables are not supported"),
        ("USER a b", "takes user"),
        ("WORKDIR a b", "takes one path"),
        ("COPY a \\", "ends in a continuation"),
    ],
)
def test_refused_by_name_and_line(line: str, message: str) -> None:
    with pytest.raises(BuildError, match=r"line \d") as caught:
        parse(f"FROM x\n{line}\n")
    assert message in str(caught.value)


def test_from_comes_first() -> None:
    with pytest.raises(BuildError, match="no FROM"):
        parse("# nothing")
    with pytest.raises(BuildError, match="line 1: ENV: the first instruction must be FROM"):
        parse("ENV A=b")


_WORDS = st.sampled_from(
    ["FROM", "COPY", "ENV", "USER", "x", "../y", "\\", "\n", "[", '"a"', "]", "A=b", "$", "#", "/", "'"]
)


@given(st.lists(_WORDS, max_size=12).map(" ".join) | st.text(max_size=80))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for whole in (text, f"FROM x\n{text}"):
        try:
            found = parse(whole)
        except BuildError:
            continue
        assert found.base
        for copy in found.copies:
            assert copy.target.startswith("/")
            assert not any(source.startswith(("..", "/")) for source in copy.sources)
