"""The enrolment file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.documents.enrolment import encode_enrolment, parse_enrolment
from gateway.documents.envelope import PrivateKey
from gateway.documents.keys import sign_keys
from gateway.errors import FieldgateError, InvalidInput, NotPermitted
from gateway.model.trust import Keys
from gateway.model.wire import from_wire
from tests.unit.documents import samples

ROOT, SIGNER = PrivateKey.generate(), PrivateKey.generate()
KEYS = samples.keys(ROOT, SIGNER)
TEXT = encode_enrolment("gw-1", "inc-1", "broker.example", 8883, "ab" * 32, sign_keys(KEYS, [ROOT]))


def test_round_trip() -> None:
    enrolment = parse_enrolment(TEXT)
    assert (enrolment.gateway, enrolment.incarnation) == ("gw-1", "inc-1")
    assert (enrolment.broker_host, enrolment.broker_port) == ("broker.example", 8883)
    assert from_wire(Keys, enrolment.keys) == KEYS


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"gateway": "GW"}, "gateway"), ({"incarnation": ""}, "incarnation"), ({"broker_host": "a b"}, "broker_host"),
        ({"broker_port": 0}, "broker_port"), ({"confirmation_key": "ab"}, "confirmation_key"), ({"keys": 1}, "keys"),
        ({"more": 1}, "more"),
    ],
)  # fmt: skip
def test_faults_are_named_by_path(change: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_enrolment(json.dumps({**json.loads(TEXT), **change}).encode())
    assert [problem.path for problem in caught.value.problems] == [path]


def test_secrets_stay_out_of_messages() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_enrolment(json.dumps({**json.loads(TEXT), "confirmation_key": "5ec2e7"}).encode())
    assert "5ec2e7" not in str(caught.value)


def test_keys_that_nobody_signed() -> None:
    envelope = json.loads(TEXT)["keys"]
    with pytest.raises(NotPermitted):
        parse_enrolment(json.dumps({**json.loads(TEXT), "keys": {**envelope, "signatures": []}}).encode())


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff", b"null"])
def test_other_bytes(text: bytes) -> None:
    with pytest.raises(FieldgateError):
        parse_enrolment(text)
