"""The one thread that owns the database: takes requests, commits appends in groups, never on the event loop.

A group is committed when its first append has waited `interval_s`, when it is large, or when a confirmation comes along
anyway. Answers go back through `Request.answer`, several at once. Knows no asyncio: `outbox.py` is its only user.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gateway.errors import FieldgateError, Unavailable
from gateway.model.batches import BatchId
from gateway.outbox.entries import Append
from gateway.outbox.stats import OutboxStats
from gateway.outbox.store import Store

log = logging.getLogger(__name__)

GROUP_RECORDS: Final = 1000

Work = Append | BatchId | Callable[[Store], Any]
"""Append: to be committed. BatchId: a confirmation. A function: run it on the store."""


@dataclass(frozen=True, slots=True)
class Request:
    """`token` comes back with the answer."""

    work: Work
    token: Any


@dataclass(frozen=True, slots=True)
class Answers:
    """What became of some requests: (token, result or exception), and the accounts afterwards."""

    results: tuple[tuple[Any, Any], ...]
    stats: OutboxStats


class Writer:
    """`deliver` is called on the writer's thread with every bunch of answers; it must not block."""

    def __init__(self, store: Store, interval_s: float, deliver: Callable[[Answers], None]) -> None:
        self._store = store
        self._interval_s = interval_s
        self._deliver = deliver
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._appends: list[Request] = []
        self._confirmations: list[Request] = []
        self._records = 0
        self._deadline = 0.0

    def start(self) -> None:
        self._thread.start()

    def submit(self, request: Request) -> None:
        self._requests.put(request)

    def stop(self) -> None:
        """Commit what waits, close the store, end. Returns at once; `join()` waits."""
        self._requests.put(None)

    def join(self, timeout_s: float) -> bool:
        """Whether the thread has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        running = True
        while running:
            try:
                request = self._next()
                while request is not None:
                    self._take(request)
                    request = self._requests.get_nowait()
                running = False
            except queue.Empty:
                pass
            if not running or self._is_due():
                self._commit()
        self._store.close()

    def _next(self) -> Request | None:
        """The next request; queue.Empty when the group's time is up."""
        if not self._appends:
            return self._requests.get()
        return self._requests.get(timeout=max(0.0, self._deadline - time.monotonic()))

    def _take(self, request: Request) -> None:
        if isinstance(request.work, Append):
            if not self._appends:
                self._deadline = time.monotonic() + self._interval_s
            self._appends.append(request)
            self._records += len(request.work.records)
            if self._records >= GROUP_RECORDS:
                self._commit()
        elif isinstance(request.work, BatchId):
            self._confirmations.append(request)
        else:
            self._call(request.token, request.work)

    def _is_due(self) -> bool:
        return bool(self._confirmations) or (bool(self._appends) and time.monotonic() >= self._deadline)

    def _call(self, token: Any, function: Callable[[Store], Any]) -> None:
        result: Any
        try:
            result = function(self._store)
        except FieldgateError as failure:
            result = failure
        except Exception as failure:
            log.exception("outbox request failed")
            result = Unavailable(f"cannot use outbox: {failure!r}")
        self._deliver(Answers(((token, result),), self._store.stats()))

    def _commit(self) -> None:
        appends, confirmations = self._appends, self._confirmations
        self._appends, self._confirmations, self._records = [], [], 0
        if not appends and not confirmations:
            return
        results: list[Any]
        try:
            results = list(
                self._store.commit([r.work for r in appends], [r.work for r in confirmations], time.time_ns())  # type: ignore[misc]
            )
            results += [None] * len(confirmations)
        except FieldgateError as failure:
            results = [failure] * (len(appends) + len(confirmations))
        except Exception as failure:
            log.exception("outbox commit failed")
            results = [Unavailable(f"cannot write outbox: {failure!r}")] * (len(appends) + len(confirmations))
        tokens = [request.token for request in (*appends, *confirmations)]
        self._deliver(Answers(tuple(zip(tokens, results, strict=True)), self._store.stats()))
