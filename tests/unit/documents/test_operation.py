"""Operations: encoded, signed, accepted, refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.documents.envelope import PrivateKey, sign
from gateway.documents.operation import (
    PAYLOAD_TYPE,
    accept_operation,
    decode_operation,
    encode_operation,
    sign_operation,
)
from gateway.errors import Corrupted, FieldgateError, InvalidInput, NotPermitted
from gateway.model.operations import (
    MAX_REQUEST_BYTES,
    AcceptedOperation,
    Answer,
    Op,
    Operation,
    decode_answer,
    decode_confirm,
    encode_answer,
    encode_confirm,
)
from gateway.model.wire import canonical, from_wire, to_wire
from tests.unit.documents import samples
from tests.unit.documents.test_syntax import VALUES

KEY, OTHER = PrivateKey.generate(), PrivateKey.generate()
EXPECTED = [samples.expected(KEY)]
OPERATION = Operation("gw-1", "inc-1", "cloud", "a" * 32, "b" * 32, "boot-1", Op.WHY, "meter")
EXEC = replace(OPERATION, op=Op.EXEC, argv=("ls", "-l"), timeout_s=3.0, service="reader", asked_by="alice")
SECRET = bytes(32)


def signed(operation: Operation = OPERATION, key: PrivateKey = KEY) -> bytes:
    return sign_operation(encode_operation(operation), [key])


@pytest.mark.parametrize("operation", [OPERATION, EXEC, replace(OPERATION, op=Op.STATS, app="")])
def test_what_was_signed_is_accepted(operation: Operation) -> None:
    accepted = accept_operation(signed(operation), EXPECTED)
    assert accepted == AcceptedOperation(operation, (KEY.id,))
    assert from_wire(AcceptedOperation, to_wire(accepted)) == accepted


@pytest.mark.parametrize(
    ("change", "error", "cause"),
    [
        ({"gateway": "gw-2"}, InvalidInput, "for gateway gw-2, this is gw-1"),
        ({"incarnation": "inc-0"}, InvalidInput, "for incarnation inc-0, this is inc-1"),
        ({"authority": "local"}, NotPermitted, "authority local may ask for nothing here"),
    ],
)
def test_another_addressee_or_authority(change: dict[str, str], error: type[Exception], cause: str) -> None:
    with pytest.raises(error, match=cause):
        accept_operation(signed(replace(OPERATION, **change)), EXPECTED)  # type: ignore[arg-type]


def test_another_signer_and_another_kind_of_document() -> None:
    with pytest.raises(NotPermitted, match="0 of 1 needed signatures"):
        accept_operation(signed(key=OTHER), EXPECTED)
    with pytest.raises(InvalidInput, match="its payload is"):
        accept_operation(sign("application/vnd.fieldgate.desired+json", encode_operation(OPERATION), [KEY]), EXPECTED)
    with pytest.raises((Corrupted, NotPermitted, InvalidInput)):
        accept_operation(signed().replace(b'"sig":"', b'"sig":"AAAA'), EXPECTED)
    with pytest.raises(InvalidInput, match="more than"):
        accept_operation(b"x" * (MAX_REQUEST_BYTES + 1), EXPECTED)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"op": "reboot"}, "op"),
        ({"op": "exec"}, "argv"),
        ({"argv": ["ls"]}, "argv"),
        ({"op": "exec", "argv": []}, "argv"),
        ({"op": "exec", "argv": ["x"] * 65}, "argv"),
        ({"op": "exec", "argv": ["x"], "timeout_s": 61}, "timeout_s"),
        ({"op": "exec", "argv": ["x"], "timeout_s": 0}, "timeout_s"),
        ({"op": "exec", "argv": ["x"], "max_output_bytes": 65537}, "max_output_bytes"),
        ({"op": "logs", "tail": 1001}, "tail"),
        ({"op": "restart", "undo": True}, "undo"),
        ({"app": ""}, "app"),
        ({"app": "../etc"}, "app"),
        ({"challenge": "B" * 32}, "challenge"),
        ({"id": "a" * 31}, "id"),
        ({"asked_by": "a\u001b[2J"}, "asked_by"),
        ({"more": 1}, "more"),
    ],
)
def test_a_fault_is_named_by_its_path(change: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_operation(canonical({**to_wire(OPERATION), **change}))
    assert path in {problem.path.partition("[")[0] for problem in caught.value.problems}


@given(st.one_of(VALUES, st.dictionaries(st.sampled_from(["authority", "op", "id", "app", "argv"]), VALUES)))
def test_any_payload_is_accepted_or_refused_in_words(value: Any) -> None:
    try:
        payload = canonical(value)
    except (ValueError, UnicodeEncodeError):
        return
    with pytest.raises(FieldgateError):
        accept_operation(sign(PAYLOAD_TYPE, payload, [KEY]), EXPECTED)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_in_words(message: bytes) -> None:
    with pytest.raises(FieldgateError):
        accept_operation(message, EXPECTED)


def test_an_answer_is_authentic_and_for_nothing_else() -> None:
    answer = Answer("gw-1", "inc-1", "why", "r" * 64, "a" * 32, result={"x": [1.5, "ü"]})
    document = from_json(encode_answer(SECRET, answer))
    assert decode_answer(SECRET, document) == answer
    for change in ({"op": "exec"}, {"result": None}, {"mac": "0" * 64}, {"mac": 5}, {"mac": "\u00e9"}):
        with pytest.raises(Corrupted):
            decode_answer(SECRET, {**document, **change})
    with pytest.raises(Corrupted):
        decode_answer(bytes([1] * 32), document)


def test_a_confirmation_is_authentic_and_for_this_gateway() -> None:
    message = encode_confirm(SECRET, "gw-1", "r" * 64)
    assert decode_confirm(SECRET, "gw-1", message) == "r" * 64
    with pytest.raises(InvalidInput):
        decode_confirm(SECRET, "gw-2", message)
    for bad in (b"", b"[]", b"{}", b"\xff", b"[" * 5000, message.replace(b"rr", b"rs", 1)):
        with pytest.raises(Corrupted):
            decode_confirm(SECRET, "gw-1", bad)


def from_json(message: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(message)
    return document
