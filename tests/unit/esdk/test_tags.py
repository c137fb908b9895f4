"""The ring of `esdk.tags`: what waits while the agent is away, how much of it, and under which keys it goes again."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

import esdk
from esdk.tags import MAX_BATCH, Tags
from esdk.testing import FakeGateway
from esdk.transport import Connection


@pytest.fixture
def fake() -> Iterator[FakeGateway]:
    with FakeGateway(publish=["meter/#"]) as made:
        yield made


def numbers(first: int, last: int) -> list[dict[str, object]]:
    return [{"tag": "meter/count", "value": number} for number in range(first, last + 1)]


def arrived(fake: FakeGateway) -> list[object]:
    return [sample["value"] for samples, _, _ in fake.published for sample in samples]


def test_while_the_agent_is_away_samples_wait_with_their_own_times(fake: FakeGateway) -> None:
    with esdk.Gateway(fake.path) as gateway:
        assert gateway.tags.publish(numbers(1, 1))
        fake.go_away()
        before = time.time_ns()
        assert not gateway.tags.publish(numbers(2, 3))
        after = time.time_ns()
        assert gateway.tags.waiting == 2
        time.sleep(0.05)
        fake.come_back()
        assert gateway.tags.publish(numbers(4, 4))
        assert (gateway.tags.waiting, gateway.tags.dropped) == (0, 0)
    assert arrived(fake) == [1, 2, 3, 4]
    late = [sample for samples, _, _ in fake.published for sample in samples if sample["value"] in (2, 3)]
    assert all(before <= sample["time_ns"] <= after for sample in late)


def test_the_ring_is_bounded_and_the_oldest_go_first(fake: FakeGateway) -> None:
    tags = Tags(connection := Connection(fake.path, 5.0), ring=5)
    fake.go_away()
    for number in range(1, 9):
        assert not tags.publish(numbers(number, number))
        assert tags.waiting <= 5
    # The first was on its way when the agent went, and perhaps it arrived: it keeps its place and its key.
    assert (tags.waiting, tags.dropped) == (5, 3)
    fake.come_back()
    assert tags.flush()
    assert arrived(fake) == [1, 5, 6, 7, 8]
    connection.close()


@pytest.mark.parametrize("durable", [False, True])
def test_a_batch_whose_answer_was_lost_goes_again_under_its_key_and_counts_once(
    fake: FakeGateway, durable: bool
) -> None:
    with esdk.Gateway(fake.path) as gateway:
        fake.lose_answer("POST", "/v1/tags")
        assert not gateway.tags.publish(numbers(1, 2), durable=durable)
        assert arrived(fake) == [1, 2], "the gateway has it, the APP does not know"
        assert gateway.tags.waiting == 2
        assert gateway.tags.publish(numbers(3, 3), durable=durable)
        assert gateway.tags.waiting == 0
    assert arrived(fake) == [1, 2, 3]
    assert len({key for _, _, key in fake.published}) == 2


def test_an_answer_lost_on_a_kept_connection_is_asked_for_again_at_once(fake: FakeGateway) -> None:
    with esdk.Gateway(fake.path) as gateway:
        assert gateway.tags.publish(numbers(1, 1))
        fake.lose_answer("POST", "/v1/tags")
        assert gateway.tags.publish(numbers(2, 2))
    assert arrived(fake) == [1, 2]


def test_what_waits_goes_in_order_in_batches_of_one_kind(fake: FakeGateway) -> None:
    with esdk.Gateway(fake.path) as gateway:
        fake.go_away()
        gateway.tags.publish(numbers(1, MAX_BATCH + 10))
        gateway.tags.publish(numbers(MAX_BATCH + 11, MAX_BATCH + 12), durable=True)
        fake.come_back()
        assert gateway.tags.flush()
    assert arrived(fake) == list(range(1, MAX_BATCH + 13))
    assert [(len(samples), durable) for samples, durable, _ in fake.published] == [
        (MAX_BATCH, False), (10, False), (2, True),
    ]  # fmt: skip
    assert len({key for _, _, key in fake.published}) == 3
