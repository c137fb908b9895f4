"""The keys document: consistency, first trust, succession."""

from __future__ import annotations

import dataclasses
import json

import pytest

from gateway.documents.envelope import PrivateKey, sign
from gateway.documents.keys import (
    MAX_CHAIN,
    PAYLOAD_TYPE,
    encode_chain,
    first_keys,
    sign_keys,
    succeed,
    successor,
)
from gateway.errors import Conflict, Corrupted, FieldgateError, InvalidInput, NotPermitted
from gateway.model.trust import Keys, PublicKey
from gateway.model.wire import canonical, to_wire
from tests.unit.documents import samples

ROOT, NEW_ROOT, SIGNER, OTHER = (PrivateKey.generate() for _ in range(4))
FIRST = samples.keys(ROOT, SIGNER)


def test_first_trust_is_signed_by_its_own_roots() -> None:
    assert first_keys(sign_keys(FIRST, [ROOT])) == FIRST
    with pytest.raises(NotPermitted):
        first_keys(sign_keys(FIRST, [OTHER]))


def test_signers_rotate() -> None:
    second = samples.keys(ROOT, OTHER, version=2)
    assert successor(FIRST, sign_keys(second, [ROOT])) == second


def test_roots_rotate_only_with_both_old_and_new() -> None:
    second = samples.keys(NEW_ROOT, SIGNER, version=2)
    assert successor(FIRST, sign_keys(second, [ROOT, NEW_ROOT])) == second
    for incomplete in ([ROOT], [NEW_ROOT], []):
        with pytest.raises(NotPermitted):
            successor(FIRST, sign_keys(second, incomplete))


def test_root_threshold_holds() -> None:
    roots = {key.id: PublicKey(key.public) for key in (ROOT, NEW_ROOT)}
    first = dataclasses.replace(FIRST, root=roots, root_threshold=2)
    second = dataclasses.replace(first, version=2)
    with pytest.raises(NotPermitted, match="1 of 2"):
        successor(first, sign_keys(second, [ROOT]))
    assert successor(first, sign_keys(second, [ROOT, NEW_ROOT])) == second


@pytest.mark.parametrize("version", [1, 3])
def test_versions_follow_each_other(version: int) -> None:
    with pytest.raises(Conflict, match="does not follow 1"):
        successor(FIRST, sign_keys(samples.keys(ROOT, SIGNER, version), [ROOT]))


def test_a_gateway_that_was_away_walks_the_chain() -> None:
    second = samples.keys(NEW_ROOT, SIGNER, version=2)
    third = samples.keys(NEW_ROOT, OTHER, version=3)
    chain = [sign_keys(FIRST, [ROOT]), sign_keys(second, [ROOT, NEW_ROOT]), sign_keys(third, [NEW_ROOT])]
    assert succeed(FIRST, encode_chain(chain)) == third
    assert succeed(third, encode_chain(chain)) == third
    assert succeed(FIRST, encode_chain([])) == FIRST
    with pytest.raises(NotPermitted):
        succeed(FIRST, encode_chain([chain[2]]))


@pytest.mark.parametrize("message", [b"", b"{}", b"[1]", b"[{}]", b"[" + b"{}," * MAX_CHAIN + b"{}]", b"\xff"])
def test_what_is_no_chain(message: bytes) -> None:
    with pytest.raises(InvalidInput):
        succeed(FIRST, message)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"version": 0}, "version"),
        ({"threshold": 2}, "threshold"),
        ({"root_threshold": 2}, "root_threshold"),
        ({"root": {}}, "root"),
        ({"root": {"0" * 64: PublicKey(ROOT.public)}}, f"root.{'0' * 64}"),
        ({"signers": {ROOT.id: PublicKey(ROOT.public, "cloud")}}, f"signers.{ROOT.id}"),
        ({"signers": {SIGNER.id: PublicKey(SIGNER.public, "Not A Name")}}, f"signers.{SIGNER.id}.authority"),
        ({"signers": {SIGNER.id: PublicKey("zz", "cloud")}}, f"signers.{SIGNER.id}.public"),
    ],
)
def test_inconsistent_documents_are_refused_by_path(change: dict[str, object], path: str) -> None:
    bad: Keys = dataclasses.replace(FIRST, **change)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput) as caught:
        sign_keys(bad, [ROOT])
    assert path in [problem.path for problem in caught.value.problems]


def test_tampering_is_refused() -> None:
    envelope = sign_keys(FIRST, [ROOT])
    other = sign(PAYLOAD_TYPE, canonical(to_wire(samples.keys(OTHER, OTHER))), [OTHER])
    for bad in (envelope[:-5], envelope.replace(b"payloadType", b"payloadtype"), other):
        with pytest.raises(FieldgateError):
            successor(FIRST, bad)


def test_another_kind_of_payload_is_refused() -> None:
    with pytest.raises(InvalidInput, match="its payload is"):
        first_keys(sign("application/other", canonical(to_wire(FIRST)), [ROOT]))


def test_a_wrong_signature_is_corrupted() -> None:
    envelope = sign_keys(FIRST, [ROOT])
    changed = sign_keys(dataclasses.replace(FIRST, version=2), [ROOT])
    mixed = json.loads(changed)
    mixed["signatures"] = json.loads(envelope)["signatures"]
    with pytest.raises(Corrupted):
        successor(FIRST, canonical(mixed))
