"""Operations that authorities ask for over MQTT: verified by the border worker, judged, done once, answered.

In this order: whose signature, for whom, asked before, with a challenge of this boot that nobody has used, allowed by
the profile, about an APP of that authority. What was verified is answered, and the answer kept, until the cloud has
confirmed it. Knows no transport: `cloud_link/requests.py` carries messages in and answers out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from gateway.errors import Conflict, FieldgateError, InvalidInput, NotPermitted, Unavailable
from gateway.model.enrolment import Enrolment
from gateway.model.operations import (
    CHALLENGE,
    MAX_ANSWER_BYTES,
    MAX_LOG_BYTES,
    READING,
    AcceptedOperation,
    Answer,
    Op,
    Operation,
    decode_confirm,
    encode_answer,
    request_id,
)
from gateway.model.trust import Expected
from gateway.model.wire import to_wire
from gateway.operations.answers import Answers
from gateway.operations.execution import By
from gateway.operations.operations import Operations
from gateway.trust.caps import check_operation
from gateway.trust.challenges import Challenges

log = logging.getLogger(__name__)

MAX_CHALLENGE_REQUEST_BYTES: Final = 64


class Verifier(Protocol):
    """`trust.border.Border`."""

    async def operation(self, envelope: bytes, expected: Sequence[Expected]) -> AcceptedOperation: ...


class Operators(Protocol):
    """`trust.keyring.KeyRing`."""

    def operators(self) -> list[Expected]: ...


class Remote:
    """`clock`: monotonic seconds."""

    def __init__(
        self,
        enrolment: Enrolment,
        verifier: Verifier,
        keys: Operators,
        operations: Operations,
        challenges: Challenges,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gateway, self._incarnation = enrolment.gateway, enrolment.incarnation
        self._key = bytes.fromhex(enrolment.confirmation_key)
        self._verifier = verifier
        self._keys = keys
        self._operations = operations
        self._challenges = challenges
        self._clock = clock
        self._under_way: set[tuple[str, str]] = set()
        self.answers = Answers()
        """To be sent until they are confirmed."""

    async def operate(self, op: str, message: bytes) -> bytes | None:
        """The answer to `message`; the same message gets the same answer. None: it is being done, the answer comes."""
        request = request_id(message)
        if op == CHALLENGE:
            if len(message) > MAX_CHALLENGE_REQUEST_BYTES:
                return self._encoded(
                    self._refused(op, request, InvalidInput("cannot give a challenge: too long a request"))
                )
            challenge = to_wire(self._challenges.issue(self._clock()))
            return self._encoded(Answer(self._gateway, self._incarnation, op, request, result=challenge))
        if (kept := self.answers.find(request, op)) is not None:
            return kept
        if (op, request) in self._under_way:
            return None
        self._under_way.add((op, request))
        try:
            return await self._verify(op, request, message)
        finally:
            self._under_way.discard((op, request))

    def confirmed(self, message: bytes) -> None:
        """The cloud has an answer. Corrupted, InvalidInput: it is not the cloud's word."""
        self.answers.confirmed(decode_confirm(self._key, self._gateway, message))

    def refused(self, op: str, message: bytes, failure: FieldgateError) -> bytes:
        """The answer to a message that is not even looked at."""
        return self._encoded(self._refused(op, request_id(message), failure))

    async def _verify(self, op: str, request: str, message: bytes) -> bytes:
        expected = self._keys.operators()
        try:
            operation = (await self._verifier.operation(message, expected)).operation
            if operation.op != op:
                raise InvalidInput(f"cannot accept the operation: it came as {op}, but asks for {operation.op}")
        except FieldgateError as failure:
            # Not kept: whoever has no key must not push out the answers to those who have.
            log.warning("operation refused op=%s cause=%s", op, failure)
            return self._encoded(self._refused(op, request, failure))
        try:
            result = await self._do(operation, next(e for e in expected if e.authority == operation.authority))
            answer = Answer(self._gateway, self._incarnation, op, request, operation.id, result)
        except FieldgateError as failure:
            log.warning("operation failed op=%s id=%s cause=%s", op, operation.id, failure)
            answer = self._refused(op, request, failure, operation.id)
        encoded = self._encoded(answer)
        self.answers.keep(request, op, encoded, self._clock())
        return encoded

    async def _do(self, operation: Operation, expected: Expected) -> Any:
        self._check_new(operation)
        self._challenges.redeem(operation.challenge, operation.boot_id, self._clock())
        check_operation(operation, expected)
        if operation.app:
            self._check_owner(operation)
        log.info(
            "operation op=%s app=%s id=%s authority=%s", operation.op, operation.app, operation.id, operation.authority
        )
        result = await self._done(operation, expected)
        if operation.op in READING:
            return result
        record = self._operations.execution.audit.find(operation.id)
        return {**result, "record": to_wire(record) if record else None}

    async def _done(self, operation: Operation, expected: Expected) -> Any:
        app, inspection = operation.app, self._operations.inspection
        by = By(_who(operation), operation.id)
        match operation.op:
            case Op.WHY:
                return to_wire(await inspection.why(app, printed=Op.LOGS in expected.caps.operations))
            case Op.STATS:
                found = await inspection.stats(app)
                return [entry for entry in found if self._operations.owner(entry["app"]) == operation.authority]
            case Op.LOGS:
                return await self._operations.recorded_logs(app, operation.service, operation.tail, MAX_LOG_BYTES, by)
            case Op.EXEC:
                return await self._operations.execution.execute(
                    app, operation.service, operation.argv, operation.timeout_s, operation.max_output_bytes, by
                )
            case Op.RESTART:
                order = "restart"
            case Op.ROLLBACK:
                order = "retry" if operation.undo else "rollback"
            case Op.PIN:
                order = "unpin" if operation.undo else "pin"
        return {"app": app, "order": order, "version": await self._operations.order(app, order, by)}

    def _check_new(self, operation: Operation) -> None:
        """Conflict: it was begun before, perhaps by an agent that is no more."""
        if (known := self._operations.execution.audit.find(operation.id)) is not None:
            code = "" if known.exit_code is None else f", exit code {known.exit_code}, output {known.output_digest}"
            end = (
                f"it ended: {known.outcome}{code}" if known.ended_ns else "its end is not known: the agent ended first"
            )
            raise Conflict(f"cannot do operation {operation.id} again: {end}")

    def _check_owner(self, operation: Operation) -> None:
        owner = self._operations.owner(operation.app)
        if owner != operation.authority:
            raise NotPermitted(
                f"cannot {operation.op} {operation.app}: it belongs to authority {owner}, not to {operation.authority}"
            )

    def _refused(self, op: str, request: str, failure: FieldgateError, identity: str = "") -> Answer:
        return Answer(self._gateway, self._incarnation, op, request, identity, error=failure.to_json())

    def _encoded(self, answer: Answer) -> bytes:
        encoded = encode_answer(self._key, answer)
        if len(encoded) <= MAX_ANSWER_BYTES:
            return encoded
        failure = Unavailable(f"cannot answer: {len(encoded)} bytes are more than {MAX_ANSWER_BYTES}")
        return encode_answer(self._key, self._refused(answer.op, answer.request, failure, answer.id))


def _who(operation: Operation) -> str:
    return f"authority {operation.authority}" + (f" ({operation.asked_by})" if operation.asked_by else "")
