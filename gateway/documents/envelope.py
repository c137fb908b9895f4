"""DSSE envelopes with ed25519 signatures: sign, co-sign, verify against trusted keys and a threshold.

https://github.com/secure-systems-lab/dsse/blob/master/envelope.md; the signatures are securesystemslib's. A key id is
the sha256 of the raw public key, so that one key can never count twice. What the payload means is not known here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from pydantic import Field
from securesystemslib import dsse
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import CryptoSigner, Signature, SSlibKey  # type: ignore[attr-defined]  # no __all__

from gateway.documents.checks import Model, check
from gateway.documents.syntax import parse_json, refused
from gateway.errors import Corrupted, InvalidInput, NotPermitted
from gateway.model.wire import canonical

MAX_ENVELOPE_BYTES: Final = 1 << 20
MAX_SIGNATURES: Final = 16
SIGNATURE_BYTES: Final = 64
PUBLIC_KEY_BYTES: Final = 32


def key_id(public: str) -> str:
    """The id of a public key (64 hexadecimal digits): sha256 over its 32 bytes, hexadecimal."""
    return hashlib.sha256(bytes.fromhex(public)).hexdigest()


class PrivateKey:
    """An ed25519 private key. `public` and `id` are hexadecimal."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
        self.id = key_id(self.public)

    @classmethod
    def generate(cls) -> PrivateKey:
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, pem: bytes) -> PrivateKey:
        """The inverse of `to_pem`; InvalidInput if it is no unencrypted ed25519 private key."""
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as failure:
            raise refused("private key", f"not an unencrypted PEM private key: {str(failure)[:120]}") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise refused("private key", "it is not an ed25519 key")
        return cls(key)

    def to_pem(self) -> bytes:
        """PKCS#8, not encrypted: the file's mode (0600) is its protection."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def public_pem(self) -> bytes:
        """What a profile's `key_files` name."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def signer(self) -> CryptoSigner:
        return CryptoSigner(self._key, _verification_key(self.id, self.public))


def public_from_pem(pem: bytes) -> str:
    """The public key, hexadecimal; InvalidInput if it is no PEM ed25519 public key."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as failure:
        raise refused("public key", f"not a PEM public key: {str(failure)[:120]}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise refused("public key", "it is not an ed25519 key")
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def sign(payload_type: str, payload: bytes, private_keys: Sequence[PrivateKey]) -> bytes:
    """The envelope around `payload`, signed by each of the keys; canonical JSON."""
    envelope = dsse.Envelope(payload, payload_type, {})
    for key in private_keys:
        envelope.sign(key.signer())
    return canonical(envelope.to_dict())


def cosign(envelope: bytes, private_keys: Sequence[PrivateKey]) -> bytes:
    """The same envelope with further signatures: key holders who never meet sign one after the other."""
    opened = _open(envelope)
    for key in private_keys:
        opened.sign(key.signer())
    return canonical(opened.to_dict())


@dataclass(frozen=True, slots=True)
class Verified:
    """A payload that enough trusted keys have signed."""

    payload: bytes
    signers: tuple[str, ...]
    """Key ids of all good signatures, sorted."""

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.payload).hexdigest()


def verify(
    envelope: bytes, payload_type: str, public_keys: Mapping[str, str], threshold: int, what: str = "envelope"
) -> Verified:
    """The payload, if `threshold` of `public_keys` (id -> hexadecimal) have signed it.

    InvalidInput: no envelope of that type. Corrupted: a trusted key's signature is wrong. NotPermitted: too few trusted
    keys have signed.
    """
    if threshold < 1:
        raise ValueError(f"threshold {threshold} would accept anything")
    opened = _open(envelope, what)
    if opened.payload_type != payload_type:
        raise refused(what, f"its payload is {opened.payload_type[:80]!a}, not {payload_type!a}")
    signed = opened.pae()
    good = set()
    for identity, signature in opened.signatures.items():
        if identity not in public_keys:
            continue
        try:
            _verification_key(identity, public_keys[identity]).verify_signature(signature, signed)
        except UnverifiedSignatureError:
            raise Corrupted(f"cannot accept {what}: the signature by key {identity[:16]} is wrong") from None
        good.add(identity)
    if len(good) < threshold:
        raise _too_few(what, opened, good, public_keys, threshold)
    return Verified(opened.payload, tuple(sorted(good)))


def peek(envelope: bytes, what: str = "envelope") -> tuple[str, bytes]:
    """Payload type and payload, *not verified*: for showing, and for finding out which keys have to verify it."""
    opened = _open(envelope, what)
    return opened.payload_type, opened.payload


def _too_few(
    what: str, opened: dsse.Envelope, good: set[str], trusted: Mapping[str, str], threshold: int
) -> NotPermitted:
    strangers = sorted(identity[:16] for identity in opened.signatures if identity not in trusted)
    by = f"; signed by {', '.join(strangers)}, which is not trusted for it" if strangers else ""
    return NotPermitted(f"cannot accept {what}: {len(good)} of {threshold} needed signatures by trusted keys{by}")


class _SignatureModel(Model):
    keyid: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    sig: Annotated[str, Field(max_length=128)]


class _EnvelopeModel(Model):
    """Fields that DSSE does not name are refused: nothing unsigned travels along."""

    payload: str
    payloadType: Annotated[str, Field(min_length=1, max_length=128)]
    signatures: Annotated[list[_SignatureModel], Field(max_length=MAX_SIGNATURES)]


def _open(data: bytes, what: str = "envelope") -> dsse.Envelope:
    # The payload is one long string.
    parsed = parse_json(data, what, MAX_ENVELOPE_BYTES, max_string_chars=MAX_ENVELOPE_BYTES)
    document = check(_EnvelopeModel, parsed, what)
    signatures: dict[str, Signature] = {}
    for entry in document.signatures:
        signature = _decoded(entry.sig, what, "signature")
        if len(signature) != SIGNATURE_BYTES:
            raise refused(what, f"a signature has {len(signature)} bytes instead of {SIGNATURE_BYTES}")
        if entry.keyid in signatures:
            raise refused(what, f"key {entry.keyid[:16]} has signed twice")
        signatures[entry.keyid] = Signature(entry.keyid, signature.hex())
    return dsse.Envelope(_decoded(document.payload, what, "payload"), document.payloadType, signatures)


def _decoded(text: str, what: str, part: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise refused(what, f"its {part} is not base64") from None


def _verification_key(identity: str, public: str) -> SSlibKey:
    if len(public) != 2 * PUBLIC_KEY_BYTES or key_id(public) != identity:
        raise InvalidInput(f"cannot use key {identity[:16]}: its id is not the sha256 of its public key")
    return SSlibKey(identity, "ed25519", "ed25519", {"public": public})
