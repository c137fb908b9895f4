"""What a terminal is spared: markup and control characters of APPs and gateways."""

from __future__ import annotations

import pytest

from gateway.terminal import clock, print_table, printable


def test_tables_show_text_and_obey_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("TAG", "VALUE"), [("a", "[bold]x[/bold] [/] :smile:"), ("b", "\x1b[2Jy\x9b2J\r\n")], "none")
    said = capsys.readouterr().out
    assert "[bold]x[/bold] [/] :smile:" in said
    assert "\x1b" not in said
    assert "\x9b" not in said
    assert len(said.splitlines()) == 3


def test_a_table_without_rows_says_what_that_means(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("TAG",), [], "No tags yet.")
    assert capsys.readouterr().out == "No tags yet.\n"


def test_control_characters_become_spaces() -> None:
    assert printable("\x1b[2Jok\r\n") == " [2Jok  "
    assert printable("Zähler 1 µs") == "Zähler 1 µs"


def test_times_have_milliseconds() -> None:
    assert clock(10**9 + 7_000_000).endswith(":01.007")
