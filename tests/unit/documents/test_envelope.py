"""Signing, co-signing, verifying; tampering is always refused."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.documents.envelope import (
    MAX_ENVELOPE_BYTES,
    PrivateKey,
    cosign,
    peek,
    public_from_pem,
    sign,
    verify,
)
from gateway.errors import Corrupted, FieldgateError, InvalidInput, NotPermitted

KIND = "application/vnd.test+json"
A, B, C = (PrivateKey.generate() for _ in range(3))
PAYLOAD = b'{"a":1}'


def trusted(*keys: PrivateKey) -> dict[str, str]:
    return {key.id: key.public for key in keys}


def test_a_signed_payload_comes_back() -> None:
    verified = verify(sign(KIND, PAYLOAD, [A]), KIND, trusted(A, B), 1)
    assert (verified.payload, verified.signers) == (PAYLOAD, (A.id,))
    assert verified.digest.startswith("sha256:")


def test_all_good_signers_are_named_and_strangers_do_not_count() -> None:
    envelope = cosign(sign(KIND, PAYLOAD, [A, C]), [B])
    assert verify(envelope, KIND, trusted(A, B), 2).signers == tuple(sorted((A.id, B.id)))
    with pytest.raises(NotPermitted, match="1 of 2 needed") as caught:
        verify(envelope, KIND, trusted(A), 2)
    assert B.id[:16] in caught.value.message


def test_one_key_never_counts_twice() -> None:
    envelope = json.loads(sign(KIND, PAYLOAD, [A]))
    envelope["signatures"] *= 2
    with pytest.raises(InvalidInput, match="has signed twice"):
        verify(json.dumps(envelope).encode(), KIND, trusted(A), 2)
    envelope["signatures"][1] = {**envelope["signatures"][0], "keyid": "0" * 64}
    with pytest.raises(InvalidInput, match="not the sha256"):
        verify(json.dumps(envelope).encode(), KIND, {A.id: A.public, "0" * 64: A.public}, 2)


def test_who_signed_it_without_being_trusted_is_told() -> None:
    with pytest.raises(NotPermitted, match=f"0 of 1 needed.*{C.id[:16]}"):
        verify(sign(KIND, PAYLOAD, [C]), KIND, trusted(A), 1)
    with pytest.raises(NotPermitted, match="0 of 1 needed"):
        verify(sign(KIND, PAYLOAD, []), KIND, trusted(A), 1)


def test_a_forged_signature_in_a_trusted_name_is_corrupted() -> None:
    envelope = json.loads(sign(KIND, PAYLOAD, [C]))
    envelope["signatures"][0]["keyid"] = A.id
    with pytest.raises(Corrupted, match=r"signature by key .* is wrong"):
        verify(json.dumps(envelope).encode(), KIND, trusted(A), 1)


def test_the_type_is_signed_and_checked() -> None:
    envelope = sign(KIND, PAYLOAD, [A])
    with pytest.raises(InvalidInput, match="its payload is"):
        verify(envelope, "application/other", trusted(A), 1)
    with pytest.raises(Corrupted):
        verify(envelope.replace(KIND.encode(), b"application/other"), "application/other", trusted(A), 1)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_changed_byte_changes_what_is_accepted(position: int, change: int) -> None:
    envelope = bytearray(sign(KIND, PAYLOAD, [A]))
    envelope[position % len(envelope)] ^= change
    try:
        verified = verify(bytes(envelope), KIND, trusted(A), 1)
    except FieldgateError:
        return
    assert verified.payload == PAYLOAD  # a change in what JSON does not care about


@given(st.binary(max_size=200))
def test_other_payloads_under_the_signature_are_corrupted(payload: bytes) -> None:
    envelope = json.loads(sign(KIND, PAYLOAD, [A]))
    envelope["payload"] = base64.b64encode(payload).decode()
    if payload != PAYLOAD:
        with pytest.raises(Corrupted):
            verify(json.dumps(envelope).encode(), KIND, trusted(A), 1)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"[]", b"null", b'"x"', b"\xff", b"{" * 1000, b" " * (MAX_ENVELOPE_BYTES + 1),
        b'{"payload":"!","payloadType":"t","signatures":[]}',
        b'{"payload":"YQ==","payloadType":"t","signatures":[{"keyid":"a","sig":"YQ=="}]}',
        b'{"payload":"YQ==","payloadType":"t","signatures":[{"keyid":"' + b"a" * 64 + b'","sig":"YQ=="}]}',
        b'{"payload":"YQ==","payloadType":"t","signatures":[],"extra":1}',
        b'{"payload":1,"payloadType":"t","signatures":[]}',
        b'{"payload":"\xc3\xa9","payloadType":"t","signatures":[]}',
        b'{"payload":"YQ==","payloadType":"t","signatures":' + json.dumps([{}] * 17).encode() + b"}",
    ],
)  # fmt: skip
def test_what_is_no_envelope_is_invalid(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        verify(data, "t", trusted(A), 1)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_crash(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        verify(data, KIND, trusted(A), 1)


def test_keys_to_pem_and_back() -> None:
    again = PrivateKey.from_pem(A.to_pem())
    assert (again.id, again.public) == (A.id, A.public)
    assert public_from_pem(A.public_pem()) == A.public
    for parse in (PrivateKey.from_pem, public_from_pem):
        for bad in (b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
            with pytest.raises(InvalidInput, match="cannot read"):
                parse(bad)
    assert peek(sign(KIND, PAYLOAD, [A])) == (KIND, PAYLOAD)


def test_no_threshold_accepts_nothing() -> None:
    with pytest.raises(ValueError, match="accept anything"):
        verify(sign(KIND, PAYLOAD, [A]), KIND, trusted(A), 0)
