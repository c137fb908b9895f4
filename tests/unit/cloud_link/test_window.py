"""The plan of the uplink: never too much on its way, nothing forgotten, whatever is lost on the way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.cloud_link.window import StreamWindow
from gateway.model.batches import BatchId


def batch(first: int, last: int, epoch: str = "e1") -> BatchId:
    return BatchId("1a2b", "telemetry", epoch, first, last)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=30), st.integers(1, 5), st.data())
def test_everything_is_confirmed_in_the_end_over_a_link_that_loses(
    sizes: list[int], window_size: int, data: st.DataObject
) -> None:
    """A model: the outbox holds batches until the cloud's confirmation arrives; link and broker lose what they like."""
    waiting, next_first = [], 1
    for size in sizes:
        waiting.append(batch(next_first, next_first + size - 1))
        next_first += size
    window, held, now = StreamWindow(window_size, 10.0), set[BatchId](), 0.0
    for step in range(1000):
        if not waiting:
            break
        calm = step > 100
        sent = list(window.overdue(now))
        room = window.room
        sent += [b for b in waiting if b.last > window.cursor][:room]
        for b in sent:
            assert b in waiting, "only what the outbox holds"
            window.sent(b, now)
            assert len(window) <= window_size
            if not calm and data.draw(st.booleans()):
                continue  # the batch got lost
            held.add(b)
            if not calm and data.draw(st.booleans()):
                continue  # the confirmation got lost
            waiting.remove(b)
            window.confirmed(b)
        if not calm and data.draw(st.integers(0, 9)) == 0:
            window.restart()  # a new connection
        now += 10.0
    assert not waiting
    assert len(window) == 0
    assert sum(b.last - b.first + 1 for b in held) == sum(sizes)


def test_the_window_is_full_until_something_is_confirmed() -> None:
    window = StreamWindow(2, 10.0)
    window.sent(batch(1, 3), 0.0)
    window.sent(batch(4, 4), 1.0)
    assert (window.room, window.cursor, window.next_due_s()) == (0, 4, 10.0)
    window.confirmed(batch(1, 3))
    assert (window.room, window.next_due_s()) == (1, 11.0)
    assert window.overdue(11.0) == [batch(4, 4)]
    window.confirmed(batch(1, 4))
    assert (window.room, window.next_due_s()) == (2, None)


def test_a_confirmation_of_something_else_frees_nothing() -> None:
    window = StreamWindow(2, 10.0)
    window.sent(batch(1, 3), 0.0)
    for other in (batch(1, 2), batch(2, 3), batch(1, 3, "e2"), BatchId("ffff", "telemetry", "e1", 1, 3)):
        window.confirmed(other)
    assert len(window) == 1


def test_a_new_outbox_begins_anew() -> None:
    window = StreamWindow(2, 10.0)
    window.sent(batch(7, 9), 0.0)
    window.restart()
    assert (window.cursor, len(window)) == (0, 0)
    window.sent(batch(7, 9), 0.0)
    window.sent(batch(1, 1, "e2"), 1.0)
    assert (window.cursor, len(window)) == (1, 1)
