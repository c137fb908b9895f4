"""Which batches of one stream are on their way, and what is to be sent next. Pure: time is handed in.

At most `size` batches are sent and not confirmed. One that is not confirmed in time is sent again, in its old place. A
broker's acknowledgement plays no part: only the cloud's confirmation frees a batch. Used by `uplink.py`.
"""

from __future__ import annotations

from gateway.model.batches import BatchId


class StreamWindow:
    """Sequence numbers grow; a change of epoch (a new outbox) begins anew."""

    def __init__(self, size: int, resend_s: float) -> None:
        self._size = size
        self._resend_s = resend_s
        self._epoch = ""
        self._sent: dict[BatchId, float] = {}
        self.cursor = 0
        """Last sequence number that was sent; what comes next lies beyond it."""

    def __len__(self) -> int:
        """Batches on their way."""
        return len(self._sent)

    @property
    def room(self) -> int:
        """How many more batches may be sent now."""
        return max(0, self._size - len(self._sent))

    def sent(self, batch: BatchId, now_s: float) -> None:
        """It was handed to the broker, for the first time or again."""
        if batch.epoch != self._epoch:
            self.restart()
            self._epoch = batch.epoch
        self._sent[batch] = now_s
        self.cursor = max(self.cursor, batch.last)

    def confirmed(self, confirmed: BatchId) -> None:
        """The cloud holds that range: what lies within is done."""
        for batch in list(self._sent):
            inside = confirmed.first <= batch.first and batch.last <= confirmed.last
            if inside and (batch.epoch, batch.incarnation) == (confirmed.epoch, confirmed.incarnation):
                del self._sent[batch]

    def gone(self, batch: BatchId) -> None:
        """The outbox no longer has it."""
        self._sent.pop(batch, None)

    def overdue(self, now_s: float) -> list[BatchId]:
        """To be sent again, oldest first."""
        return sorted(
            (batch for batch, sent_s in self._sent.items() if now_s >= sent_s + self._resend_s), key=lambda b: b.first
        )

    def next_due_s(self) -> float | None:
        """When the next batch is overdue; None when nothing is on its way."""
        return min(self._sent.values()) + self._resend_s if self._sent else None

    def restart(self) -> None:
        """A new connection, or a new outbox: everything unconfirmed is sent again from the oldest on."""
        self._sent.clear()
        self.cursor = 0
