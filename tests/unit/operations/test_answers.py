"""Answers are sent until they are confirmed, ever more rarely, not for ever, and not without a bound."""

from __future__ import annotations

from itertools import pairwise

from gateway.operations.answers import FIRST_PAUSE_S, LAST_PAUSE_S, LIFETIME_S, MAX_ANSWERS, MAX_BYTES, Answers


def test_until_it_is_confirmed() -> None:
    answers = Answers()
    answers.keep("r", "why", b"answer", 100.0)
    assert answers.due(100.0) == []
    assert answers.next_due_s() == 100.0 + FIRST_PAUSE_S
    assert answers.due(100.0 + FIRST_PAUSE_S) == [("why", b"answer")]
    assert answers.due(100.0 + FIRST_PAUSE_S) == []
    assert answers.find("r", "why") == b"answer"
    assert answers.find("r", "exec") is None
    answers.confirmed("r")
    answers.confirmed("r")
    assert answers.find("r", "why") is None
    assert answers.next_due_s() is None


def test_ever_more_rarely_and_given_up() -> None:
    answers, sent, now = Answers(), [], 0.0
    answers.keep("r", "why", b"answer", now)
    while (due := answers.next_due_s()) is not None:
        assert due >= now
        now = due
        if answers.due(now):
            sent.append(now)
    pauses = [later - earlier for earlier, later in pairwise(sent)]
    assert pauses == sorted(pauses)
    assert max(pauses) == LAST_PAUSE_S
    assert LIFETIME_S - LAST_PAUSE_S < sent[-1] <= LIFETIME_S


def test_a_new_connection_gets_all_of_them() -> None:
    answers = Answers()
    for number in range(3):
        answers.keep(str(number), "why", b"answer", 0.0)
    answers.connected()
    assert len(answers.due(1.0)) == 3
    assert answers.due(1.0) == []


def test_bounded_in_number_and_in_bytes() -> None:
    answers = Answers()
    for number in range(MAX_ANSWERS + 5):
        answers.keep(str(number), "why", b"x", 0.0)
    assert answers.find("4", "why") is None
    assert answers.find("5", "why") == b"x"
    answers.keep("large", "logs", b"x" * MAX_BYTES, 0.0)
    assert answers.find(str(MAX_ANSWERS + 4), "why") is None
    assert answers.find("large", "logs") is not None
