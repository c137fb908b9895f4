"""The keys document: who signs for which authority. Versioned, signed by root keys that stay offline.

`{"version": 1, "threshold": 1, "root": {ID: {"public": HEX}}, "root_threshold": 1,
"signers": {ID: {"public": HEX, "authority": NAME}}}` inside a DSSE envelope. The first one comes with the enrolment and
is signed by its own roots. A successor has the next version and is signed by the threshold of its predecessor's roots
*and* of its own, as in TUF: roots that nobody holds can never be put into force.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import Field, model_validator

from gateway.documents.checks import AuthorityName, Model, Path, check, faults
from gateway.documents.envelope import PrivateKey, Verified, key_id, peek, sign, verify
from gateway.documents.syntax import parse_json, refused
from gateway.errors import Conflict, InvalidInput
from gateway.model.trust import Keys, PublicKey
from gateway.model.wire import canonical, to_wire

PAYLOAD_TYPE: Final = "application/vnd.fieldgate.keys+json"
MAX_KEYS_BYTES: Final = 64 << 10
MAX_CHAIN: Final = 64
"""Successors in one message."""
_WHAT: Final = "the keys document"

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", max_length=64)]
Threshold = Annotated[int, Field(ge=1, le=16)]


class _Root(Model):
    public: Id


class _Signer(_Root):
    authority: AuthorityName


class _Keys(Model):
    version: Annotated[int, Field(ge=1, le=1 << 31)]
    threshold: Threshold
    root_threshold: Threshold
    root: Annotated[dict[Id, _Root], Field(min_length=1, max_length=16)]
    signers: Annotated[dict[Id, _Signer], Field(max_length=64)]

    @model_validator(mode="after")
    def _consistent(self) -> _Keys:
        found: list[tuple[Path, str]] = []
        for kind, keys in (("root", self.root), ("signers", self.signers)):
            for identity, key in keys.items():
                if key_id(key.public) != identity:
                    found.append(((kind, identity), "the id is not the sha256 of the public key"))
                if kind == "signers" and identity in self.root:
                    found.append(((kind, identity), "a root key must not sign for an authority, too"))
        if self.root_threshold > len(self.root):
            found.append((("root_threshold",), f"there are only {len(self.root)} root keys"))
        authorities = [signer.authority for signer in self.signers.values()]
        for authority in sorted(set(authorities)):
            if authorities.count(authority) < self.threshold:
                found.append((("threshold",), f"authority {authority} has only {authorities.count(authority)} signers"))
        if found:
            raise faults(found)
        return self

    def build(self) -> Keys:
        return Keys(
            version=self.version,
            threshold=self.threshold,
            root_threshold=self.root_threshold,
            root={identity: PublicKey(key.public) for identity, key in self.root.items()},
            signers={identity: PublicKey(key.public, key.authority) for identity, key in self.signers.items()},
        )


def check_keys(document: Any) -> Keys:
    """The keys document from its JSON value; InvalidInput with all faults."""
    return check(_Keys, document, _WHAT).build()


def sign_keys(keys: Keys, roots: Sequence[PrivateKey]) -> bytes:
    """The envelope around a keys document. InvalidInput if it is not consistent."""
    # Not to_wire alone: the document spells out every key, also one that holds a default.
    document = {"root": {}, "signers": {}, **to_wire(keys)}
    check_keys(document)
    return sign(PAYLOAD_TYPE, canonical(document), roots)


def first_keys(envelope: bytes) -> Keys:
    """Where trust begins: signed by its own roots; nothing else vouches for it but the way that it came here."""
    keys = _unverified(envelope)
    _by_roots(envelope, keys)
    return keys


def successor(current: Keys, envelope: bytes) -> Keys:
    """The next version. Conflict: not the next one. Corrupted, NotPermitted: not signed as it must be."""
    keys = _unverified(envelope)
    _by_roots(envelope, current)
    _by_roots(envelope, keys)
    if keys.version != current.version + 1:
        raise Conflict(f"cannot accept {_WHAT}: version {keys.version} does not follow {current.version}")
    return keys


def succeed(current: Keys, message: bytes) -> Keys:
    """The newest document of a chain: a JSON list of envelopes, oldest first.

    Those that are not newer than `current` are skipped. A gateway that was away for several rotations is brought up
    step by step.
    """
    chain = parse_json(message, _WHAT, MAX_KEYS_BYTES * 16, max_string_chars=MAX_KEYS_BYTES * 2)
    if not isinstance(chain, list) or len(chain) > MAX_CHAIN:
        raise refused(_WHAT, f"it must be a list of at most {MAX_CHAIN} envelopes")
    for entry in chain:
        envelope = canonical(entry)
        if _unverified(envelope).version > current.version:
            current = successor(current, envelope)
    return current


def encode_chain(envelopes: Sequence[bytes]) -> bytes:
    """The message that `succeed` reads."""
    return canonical([parse_json(e, _WHAT, MAX_KEYS_BYTES * 2, max_string_chars=MAX_KEYS_BYTES * 2) for e in envelopes])


def _unverified(envelope: bytes) -> Keys:
    kind, payload = peek(envelope, _WHAT)
    if kind != PAYLOAD_TYPE:
        raise InvalidInput(f"cannot read {_WHAT}: its payload is {kind[:80]!a}, not {PAYLOAD_TYPE!a}")
    return check_keys(parse_json(payload, _WHAT, MAX_KEYS_BYTES))


def _by_roots(envelope: bytes, keys: Keys) -> Verified:
    roots = {identity: key.public for identity, key in keys.root.items()}
    return verify(envelope, PAYLOAD_TYPE, roots, keys.root_threshold, _WHAT)
