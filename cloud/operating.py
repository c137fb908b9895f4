"""Asks gateways to do something now, and waits for the answer: challenge, signature, request, answer, confirmation.

Every step is written down first (`operation_store.py`). What gets lost on the way is sent again, the same bytes: the
gateway does one operation once. Composed by `server.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from cloud.authority import CLOUD
from cloud.database import Database
from cloud.events import Events, event
from cloud.operation_store import OperationRow, OperationStore, State
from cloud.store import GatewayRow, Store
from gateway.documents.operation import encode_operation, sign_operation
from gateway.errors import FieldgateError, InvalidInput, TimedOut, Unavailable
from gateway.model.operations import CHALLENGE, CONFIRM, Answer, Challenge, Op, Operation, encode_confirm, request_id
from gateway.model.topics import Channel, Topic
from gateway.model.wire import from_wire, to_wire

log = logging.getLogger(__name__)

RESEND_S: Final = 4.0
MAX_UNDER_WAY: Final = 256
WAIT_S: Final = 30.0
MAX_WAIT_S: Final = 600.0


class Operating:
    """A part. `publish` is False when there is no connection."""

    def __init__(
        self,
        database: Database,
        store: Store,
        operations: OperationStore,
        events: Events,
        publish: Callable[[str, bytes], bool],
    ) -> None:
        self._database = database
        self._store = store
        self._operations = operations
        self._events = events
        self._publish = publish
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._new: asyncio.Queue[tuple[Operation, float]] = asyncio.Queue(MAX_UNDER_WAY)

    async def ask(self, gateway: str, members: dict[str, Any], wait_s: float = WAIT_S) -> str:
        """Begin; its id. `members`: those of `model.operations.Operation` that who asks decides.

        InvalidInput: a gateway would refuse it. NotFound: not enrolled. Unavailable: too many are under way.
        """
        if not 0 < wait_s <= MAX_WAIT_S:
            raise InvalidInput(f"cannot wait {wait_s:g} s for an answer: at most {MAX_WAIT_S:g} s")
        row = await self._database.run(self._store.gateway, gateway)
        operation = _operation(row, members)
        encode_operation(operation)
        if self._new.full():
            raise Unavailable(f"cannot ask {gateway}: {MAX_UNDER_WAY} operations wait already")
        arguments = {key: value for key, value in members.items() if key not in ("op", "app", "asked_by")}
        await self._database.run(
            self._operations.add,
            OperationRow(
                operation.id, gateway, row.incarnation, operation.op, operation.app, arguments, operation.asked_by,
                time.time_ns(), State.ASKED,
            ),
        )  # fmt: skip
        log.info("operation asked gateway=%s op=%s app=%s id=%s", gateway, operation.op, operation.app, operation.id)
        self._new.put_nowait((operation, wait_s))
        return operation.id

    def answered(self, answer: Answer, key: bytes) -> None:
        """It is authentic and stored: confirm it, and tell who waits for it."""
        if answer.op != CHALLENGE:
            self._publish(
                str(Topic(answer.gateway, Channel.REQUEST, CONFIRM)),
                encode_confirm(key, answer.gateway, answer.request),
            )
        waiting = self._waiting.get(answer.request)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            gate = asyncio.Semaphore(MAX_UNDER_WAY)
            while True:
                operation, wait_s = await self._new.get()
                await gate.acquire()
                tasks.create_task(self._drive(operation, wait_s)).add_done_callback(lambda _: gate.release())

    async def _drive(self, operation: Operation, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        try:
            await self._attempt(operation, deadline)
        except FieldgateError as failure:
            log.warning("operation not answered id=%s cause=%s", operation.id, failure.message)
            await self._database.run(self._operations.give_up, operation.id, failure.to_json())
        self._events.publish(event("operation", operation.gateway, id=operation.id, op=operation.op, app=operation.app))

    async def _attempt(self, operation: Operation, deadline: float) -> None:
        given = await self._exchange(operation.gateway, CHALLENGE, secrets.token_bytes(16), deadline)
        if given.error is not None:
            await self._database.run(self._operations.answer_instead, operation.id, given)
            return
        challenge = from_wire(Challenge, given.result, "challenge")
        signed = to_wire(operation) | {"challenge": challenge.challenge, "boot_id": challenge.boot_id}
        payload = encode_operation(from_wire(Operation, signed))
        envelope = sign_operation(payload, [await self._database.run(self._store.signer)])
        await self._database.run(self._operations.sent, operation.id, request_id(envelope))
        runs_s = operation.timeout_s if operation.op is Op.EXEC else 0.0
        await self._exchange(operation.gateway, operation.op, envelope, deadline + runs_s)

    async def _exchange(self, gateway: str, op: str, message: bytes, deadline: float) -> Answer:
        """Send it, again and again, until its answer has come. TimedOut."""
        request, topic = request_id(message), str(Topic(gateway, Channel.REQUEST, op))
        answer = self._waiting[request] = asyncio.get_running_loop().create_future()
        try:
            while (left_s := deadline - time.monotonic()) > 0:
                self._publish(topic, message)
                with contextlib.suppress(TimeoutError):
                    return await asyncio.wait_for(asyncio.shield(answer), min(RESEND_S, left_s))
            status = (await self._database.run(self._store.gateway, gateway)).status
            known = "online" if status is not None and status.online else "offline"
            raise TimedOut(f"cannot {op}: no answer of {gateway}, which is {known}, in time")
        finally:
            answer.cancel()
            del self._waiting[request]


def _operation(row: GatewayRow, members: dict[str, Any]) -> Operation:
    """With a challenge still to come."""
    fixed = {
        "gateway": row.gateway, "incarnation": row.incarnation, "authority": CLOUD, "id": secrets.token_hex(16),
        "challenge": "0" * 32, "boot_id": "",
    }  # fmt: skip
    if members.get("op") not in list(Op):
        raise InvalidInput(f"cannot ask for {str(members.get('op'))[:40]!a}: one of {', '.join(Op)}")
    return from_wire(Operation, {**members, **fixed})
