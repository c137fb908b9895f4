"""Challenges: one operation each, in one boot, for a while, a few at a time."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Conflict, FieldgateError, NotPermitted
from gateway.trust.challenges import LIFETIME_S, OUTSTANDING, REMEMBERED, Challenges


def made() -> Challenges:
    numbers = count(1)
    return Challenges("boot-1", lambda: f"{next(numbers):032x}")


def test_a_challenge_is_good_once() -> None:
    challenges = made()
    given_out = challenges.issue(10.0)
    assert (given_out.boot_id, given_out.lifetime_s) == ("boot-1", LIFETIME_S)
    challenges.redeem(given_out.challenge, "boot-1", 10.0 + LIFETIME_S)
    with pytest.raises(Conflict, match="used before"):
        challenges.redeem(given_out.challenge, "boot-1", 10.0)


def test_what_is_refused_says_why() -> None:
    challenges = made()
    token = challenges.issue(0.0).challenge
    with pytest.raises(NotPermitted, match="another boot"):
        challenges.redeem(token, "boot-0", 0.0)
    with pytest.raises(NotPermitted, match="expired 5 s ago"):
        challenges.redeem(token, "boot-1", LIFETIME_S + 5)
    with pytest.raises(NotPermitted, match="none of those"):
        challenges.redeem("f" * 32, "boot-1", 0.0)
    with pytest.raises(NotPermitted, match="none of those"):
        made().redeem(token, "boot-1", 0.0)  # the next agent


def test_who_asks_for_too_many_loses_the_oldest() -> None:
    challenges = made()
    tokens = [challenges.issue(float(number)).challenge for number in range(OUTSTANDING + 1)]
    assert challenges.outstanding(1.0) == tokens[1:]
    with pytest.raises(NotPermitted, match="none of those"):
        challenges.redeem(tokens[0], "boot-1", 2.0)
    challenges.redeem(tokens[1], "boot-1", 2.0)


@given(st.lists(st.tuples(st.sampled_from(["issue", "redeem", "wait"]), st.integers(0, 200)), max_size=100))
def test_however_it_is_used_none_is_good_twice_and_it_stays_small(steps: list[tuple[str, int]]) -> None:
    challenges, issued, redeemed, now = made(), [], set(), 0.0
    for step, number in steps:
        if step == "issue":
            issued.append((challenges.issue(now).challenge, now))
        elif step == "wait":
            now += number
        elif issued:
            token, at = issued[number % len(issued)]
            try:
                challenges.redeem(token, "boot-1", now)
            except FieldgateError:
                continue
            assert token not in redeemed
            assert now - at <= LIFETIME_S
            redeemed.add(token)
        assert len(challenges.outstanding(now)) <= OUTSTANDING
        assert len(challenges._issued) <= REMEMBERED
