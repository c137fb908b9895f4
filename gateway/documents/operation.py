"""An operation: built and signed by an authority, verified and checked for the gateway.

Payload: the members of `model.operations.Operation` in canonical JSON, inside a DSSE envelope. The payload names its
authority, and with it whose keys must have signed it; nothing of it counts before they have. Whether that authority
may ask for it is judged in `trust/caps.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from gateway.documents.checks import (
    AuthorityName,
    GatewayName,
    Incarnation,
    Model,
    Path,
    check,
    faults,
    must_match,
    named,
)
from gateway.documents.envelope import PrivateKey, peek, sign, verify
from gateway.documents.syntax import parse_json
from gateway.errors import InvalidInput, NotPermitted
from gateway.model import names
from gateway.model.operations import (
    MAX_EXEC_S,
    MAX_LOG_LINES,
    MAX_OUTPUT_BYTES,
    MAX_REQUEST_BYTES,
    AcceptedOperation,
    Op,
    Operation,
)
from gateway.model.trust import Expected
from gateway.model.wire import canonical, to_wire

PAYLOAD_TYPE: Final = "application/vnd.fieldgate.operation+json"
MAX_ARGUMENTS: Final = 64
MAX_ARGUMENT_CHARS: Final = 4096
_WHAT: Final = "the operation"

Token = Annotated[str, named(re.compile(r"[0-9a-f]{32}"))]


def _name_or_nothing(text: str) -> str:
    return must_match(names.APP, text) if text else text


MaybeName = Annotated[str, AfterValidator(_name_or_nothing)]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable")
    return text


_ALLOWED: Final[dict[str, frozenset[str]]] = {
    "why": frozenset(),
    "stats": frozenset(),
    "logs": frozenset({"service", "tail"}),
    "exec": frozenset({"service", "argv", "timeout_s", "max_output_bytes"}),
    "restart": frozenset(),
    "rollback": frozenset({"undo"}),
    "pin": frozenset({"undo"}),
}
"""Members beyond those that every operation has."""
_ARGUMENTS: Final = frozenset().union(*_ALLOWED.values())


class _Operation(Model):
    gateway: GatewayName
    incarnation: Incarnation
    authority: AuthorityName
    id: Token
    challenge: Token
    boot_id: Annotated[str, Field(max_length=64)]
    op: Literal["why", "stats", "logs", "exec", "restart", "rollback", "pin"]
    app: MaybeName = ""
    service: MaybeName = ""
    argv: Annotated[
        list[Annotated[str, Field(max_length=MAX_ARGUMENT_CHARS)]], Field(min_length=1, max_length=MAX_ARGUMENTS)
    ] = []
    timeout_s: Annotated[float, Field(gt=0, le=MAX_EXEC_S)] = 10.0
    max_output_bytes: Annotated[int, Field(ge=0, le=MAX_OUTPUT_BYTES)] = 16 << 10
    tail: Annotated[int, Field(ge=0, le=MAX_LOG_LINES)] = 100
    undo: bool = False
    asked_by: Annotated[str, Field(max_length=128), AfterValidator(_printable)] = ""

    @model_validator(mode="after")
    def _members_fit_the_operation(self) -> _Operation:
        given = self.model_fields_set & _ARGUMENTS
        found: list[tuple[Path, str]] = [
            ((name,), f"is not for {self.op}") for name in sorted(given - _ALLOWED[self.op])
        ]
        if not self.app and self.op != "stats":
            found.append((("app",), "is missing"))
        if self.op == "exec" and not self.argv:
            found.append((("argv",), "is missing"))
        if found:
            raise faults(found)
        return self

    def build(self) -> Operation:
        members = self.model_dump(exclude={"op", "argv"})
        return Operation(**members, op=Op(self.op), argv=tuple(self.argv))


def encode_operation(operation: Operation) -> bytes:
    """The payload. InvalidInput if a gateway would refuse it."""
    payload = canonical(to_wire(operation))
    decode_operation(payload)
    return payload


def sign_operation(payload: bytes, keys: Sequence[PrivateKey]) -> bytes:
    """The envelope to publish at `request/{op}`. InvalidInput if it is too long for a gateway."""
    envelope = sign(PAYLOAD_TYPE, payload, keys)
    if len(envelope) > MAX_REQUEST_BYTES:
        raise InvalidInput(f"cannot sign {_WHAT}: {len(envelope)} bytes are more than {MAX_REQUEST_BYTES}")
    return envelope


def accept_operation(envelope: bytes, expected: Sequence[Expected]) -> AcceptedOperation:
    """The verdict on an envelope; `expected`: of every authority that may ask for anything.

    Corrupted: a signature is wrong. NotPermitted: too few trusted signatures, or an authority that may ask for nothing.
    InvalidInput: not an operation, or addressed to somebody else.
    """
    if len(envelope) > MAX_REQUEST_BYTES:
        raise InvalidInput(f"cannot read {_WHAT}: {len(envelope)} bytes are more than {MAX_REQUEST_BYTES}")
    # Unverified: it only tells whose keys must have signed it.
    claimed = check(_Claim, parse_json(peek(envelope, _WHAT)[1], _WHAT, MAX_REQUEST_BYTES), _WHAT).authority
    of = next((entry for entry in expected if entry.authority == claimed), None)
    if of is None:
        raise NotPermitted(
            f"cannot accept {_WHAT}: authority {claimed} may ask for nothing here",
            hint=f"the firmware profile would allow it by authorities.{claimed}.operations",
        )
    verified = verify(envelope, PAYLOAD_TYPE, of.signers, of.threshold, _WHAT)
    operation = decode_operation(verified.payload)
    for what, said, own in (
        ("gateway", operation.gateway, of.gateway),
        ("incarnation", operation.incarnation, of.incarnation),
        ("authority", operation.authority, of.authority),
    ):
        if said != own:
            raise InvalidInput(f"cannot accept {_WHAT}: it is for {what} {said}, this is {own}")
    return AcceptedOperation(operation, verified.signers)


def decode_operation(payload: bytes) -> Operation:
    """A payload without its envelope: for tools that look at what they are about to sign."""
    return check(_Operation, parse_json(payload, _WHAT, MAX_REQUEST_BYTES), _WHAT).build()


class _Claim(Model):
    """The one member that is looked at before the signatures."""

    model_config = {**Model.model_config, "extra": "ignore"}

    authority: AuthorityName
