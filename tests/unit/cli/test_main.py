"""Errors of the command line: a sentence and an exit status, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.main import main

IMAGE = f"registry.example/a:1@sha256:{'a' * 64}"


def said(tmp_path: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit status and what stands on stderr, without an agent and, at first, without a state directory."""
    name, *rest = arguments
    status = main([name, "--state", str(tmp_path / "state"), "--run", str(tmp_path / "run"), *rest])
    return status, capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [["status"], ["apps"], ["apps", "stop", "a"], ["logs", "a"], ["logs", "-f", "a"], ["tags"], ["tags", "-f"]],
)
def test_without_an_agent_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    status, text = said(tmp_path, capsys, *command)
    assert status == 75
    assert text.startswith("fieldgate: cannot reach the agent")


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        (["deploy"], 65, "name a Compose file, or --remove APP"),
        (["deploy", "--purge"], 65, "name a Compose file, or --remove APP"),
        (["deploy", "FILE", "--purge"], 65, "--purge goes with --remove"),
        (["deploy", "FILE", "--remove", "a"], 65, "name a Compose file, or --remove APP"),
        (["deploy", "FILE"], 66, "state directory"),
        (["deploy", "none.yaml"], 66, "cannot read none.yaml"),
        (["deploy", "--remove", "a"], 66, "state directory"),
        (["deploy", "--remove", "..", "--purge"], 65, "cannot use '..' as APP"),
        (["apps", "stop"], 65, "cannot use '' as APP"),
        (["apps", "restart", "a/b"], 65, "cannot use 'a/b' as APP"),
        (["logs", ".."], 65, "cannot use '..' as APP"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], code: int, text: str
) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(f"name: a\nservices: {{main: {{image: '{IMAGE}'}}}}\n")
    status, stderr = said(tmp_path, capsys, *(str(file) if word == "FILE" else word for word in command))
    assert status == code
    assert stderr.startswith("fieldgate: cannot ")
    assert text in stderr
    assert not (tmp_path / "state").exists()


def test_a_disk_that_refuses_is_a_sentence_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "local").write_text("a file where a directory should be")
    status, text = said(tmp_path, capsys, "deploy", "--remove", "a")
    assert status == 75
    assert text.startswith("fieldgate: cannot deploy: ")
