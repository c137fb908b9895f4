"""Desired states: encoded, signed, accepted, refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.documents import manifest
from gateway.documents.desired import (
    MAX_APPS,
    PAYLOAD_TYPE,
    accept_desired,
    decode_desired,
    encode_desired,
    sign_desired,
)
from gateway.documents.envelope import PrivateKey, sign
from gateway.errors import Corrupted, FieldgateError, InvalidInput, NotPermitted
from gateway.model.desired import AcceptedDesired
from gateway.model.wire import canonical, from_wire, to_wire
from tests.unit.documents import samples
from tests.unit.documents.test_syntax import VALUES

KEY, OTHER = PrivateKey.generate(), PrivateKey.generate()
EXPECTED = samples.expected(KEY)


def test_what_was_signed_is_accepted() -> None:
    accepted = accept_desired(samples.envelope(KEY, 7), EXPECTED)
    assert accepted.desired.revision == 7
    assert accepted.desired.apps == (manifest.parse(samples.MANIFEST),)
    assert accepted.signers == (KEY.id,)
    assert from_wire(AcceptedDesired, to_wire(accepted)) == accepted


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"gateway": "gw-2"}, "for gateway gw-2, this is gw-1"),
        ({"incarnation": "inc-0"}, "for incarnation inc-0, this is inc-1"),
        ({"authority": "local"}, "for authority local, this is cloud"),
    ],
)
def test_another_addressee(change: dict[str, str], cause: str) -> None:
    with pytest.raises(InvalidInput, match=cause):
        accept_desired(samples.envelope(KEY, **change), EXPECTED)  # type: ignore[arg-type]


def test_another_signer() -> None:
    with pytest.raises(NotPermitted, match="0 of 1 needed signatures"):
        accept_desired(samples.envelope(OTHER), EXPECTED)


def test_a_changed_payload() -> None:
    mixed = json.loads(samples.envelope(KEY, 2))
    mixed["signatures"] = json.loads(samples.envelope(KEY, 1))["signatures"]
    with pytest.raises(Corrupted):
        accept_desired(canonical(mixed), EXPECTED)


def signed(payload: Any) -> bytes:
    return sign(PAYLOAD_TYPE, payload if isinstance(payload, bytes) else canonical(payload), [KEY])


def payload(**change: Any) -> dict[str, Any]:
    apps = [{"name": "meter-reader", "compose": samples.MANIFEST}]
    base = {"gateway": "gw-1", "incarnation": "inc-1", "authority": "cloud", "revision": 1, "apps": apps}
    return {**base, **change}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"revision": 0}, "revision"),
        ({"revision": 1.5}, "revision"),
        ({"revision": True}, "revision"),
        ({"extra": 1}, "extra"),
        ({"apps": None}, "apps"),
        ({"apps": [{"name": "a", "compose": {}}] * (MAX_APPS + 1)}, "apps"),
        ({"apps": [{"name": "a"}]}, "apps[0].compose"),
        ({"apps": [{"name": "A", "compose": {}}]}, "apps[0].name"),
        ({"apps": [{"name": "a", "compose": samples.MANIFEST}]}, "apps.a.name"),
        ({"apps": [{"name": "meter-reader", "compose": samples.MANIFEST}] * 2}, "apps.meter-reader"),
        (
            {"apps": [{"name": "meter-reader", "compose": samples.manifest(sysctls=["a=1"])}]},
            "apps.meter-reader.services.reader.sysctls",
        ),
        (
            {"apps": [{"name": "meter-reader", "compose": samples.manifest(build=".", image="r.example/x:1")}]},
            "apps.meter-reader.services.reader.build",
        ),
    ],
)
def test_faults_are_named_by_path(change: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        accept_desired(signed(payload(**change)), EXPECTED)
    assert path in [problem.path for problem in caught.value.problems]


def test_an_empty_desired_state_is_one() -> None:
    assert accept_desired(signed(payload(apps=[])), EXPECTED).desired.apps == ()


def test_the_name_is_taken_from_the_entry_where_compose_has_none() -> None:
    compose = {"services": samples.MANIFEST["services"]}
    accepted = accept_desired(signed(payload(apps=[{"name": "x", "compose": compose}])), EXPECTED)
    assert accepted.desired.apps[0].name == "x"


def test_what_no_gateway_would_take_is_not_signed() -> None:
    with pytest.raises(InvalidInput):
        encode_desired("gw-1", "inc-1", "cloud", 1, {"meter-reader": samples.manifest(sysctls=[])})
    with pytest.raises(InvalidInput, match="are more than"):
        sign_desired(b"x" * (1 << 20), [KEY])


@given(st.one_of(VALUES, st.fixed_dictionaries(dict.fromkeys(payload(), VALUES))))
def test_arbitrary_payloads_never_crash(value: Any) -> None:
    with pytest.raises(FieldgateError):
        accept_desired(signed(value), EXPECTED)


@pytest.mark.parametrize("data", [b"", b"\xff", b"NaN", b"[" * 5000, b'{"a":1,"a":1}', b'"\\ud800"'])
def test_hostile_payloads(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        accept_desired(signed(data), EXPECTED)
    with pytest.raises(InvalidInput):
        decode_desired(data)
