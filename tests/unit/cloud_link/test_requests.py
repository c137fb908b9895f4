"""Requests in, answers out: a few at a time, the rest refused at once, sent again until they are confirmed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from gateway.cloud_link.requests import CONCURRENT, MAX_WAITING, Requests
from gateway.errors import FieldgateError
from gateway.operations.answers import Answers


class Remote:
    """Answers a message with itself once it may; `broken` makes our own code fail."""

    def __init__(self) -> None:
        self.answers = Answers()
        self.may = asyncio.Event()
        self.under_way = 0
        self.most = 0
        self.confirmations: list[bytes] = []

    async def operate(self, op: str, message: bytes) -> bytes | None:
        if message == b"broken":
            raise RuntimeError(op)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.may.wait()
        self.under_way -= 1
        self.answers.keep(message.decode(), op, message, time.monotonic())
        return message

    def confirmed(self, message: bytes) -> None:
        self.confirmations.append(message)

    def refused(self, op: str, message: bytes, failure: FieldgateError) -> bytes:
        return f"{failure.code} {message.decode()}".encode()


def play(scenario: Callable[[Remote, Requests, list[tuple[str, bytes]]], Awaitable[None]]) -> None:
    async def main() -> None:
        remote, sent = Remote(), list[tuple[str, bytes]]()

        def publish(topic: str, message: bytes) -> bool:
            sent.append((topic, message))
            return True

        requests = Requests("gw-1", remote, publish)
        running = asyncio.create_task(requests.run())
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(10):
                await scenario(remote, requests, sent)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())


def test_a_flood_is_refused_and_never_more_than_a_few_are_done_at_a_time() -> None:
    async def scenario(remote: Remote, requests: Requests, sent: list[tuple[str, bytes]]) -> None:
        for number in range(CONCURRENT):
            requests.take("why", b"first %d" % number)
        while remote.under_way < CONCURRENT:
            await asyncio.sleep(0)
        for number in range(MAX_WAITING + 10):
            requests.take("why", b"%d" % number)
        refused = [message for _, message in sent]
        assert refused == [b"unavailable %d" % number for number in range(MAX_WAITING, MAX_WAITING + 10)]
        remote.may.set()
        while len(sent) < 10 + CONCURRENT + MAX_WAITING:
            await asyncio.sleep(0.01)
        assert remote.most == CONCURRENT
        assert sent[-1][0] == "fieldgate/v1/gw-1/response/why"

    play(scenario)


def test_what_breaks_our_code_hurts_nobody_else() -> None:
    async def scenario(remote: Remote, requests: Requests, sent: list[tuple[str, bytes]]) -> None:
        remote.may.set()
        for _ in range(CONCURRENT + 1):
            requests.take("why", b"broken")
        requests.take("stats", b"good")
        while not sent:
            await asyncio.sleep(0.01)
        assert sent[0] == ("fieldgate/v1/gw-1/response/stats", b"good")

    play(scenario)


def test_a_new_connection_gets_what_is_not_confirmed() -> None:
    async def scenario(remote: Remote, requests: Requests, sent: list[tuple[str, bytes]]) -> None:
        remote.may.set()
        requests.take("why", b"answer")
        while not sent:
            await asyncio.sleep(0.01)
        sent.clear()
        requests.connected()
        while not sent:
            await asyncio.sleep(0.01)
        assert sent == [("fieldgate/v1/gw-1/response/why", b"answer")]
        requests.take("confirm", b"it has come")
        assert remote.confirmations == [b"it has come"]

    play(scenario)
