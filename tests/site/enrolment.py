"""Enrols a gateway without a cloud: an offline root, a signer for `cloud`, and the enrolment file."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from gateway.documents.enrolment import encode_enrolment
from gateway.documents.envelope import PrivateKey, key_id, public_from_pem
from gateway.documents.keys import sign_keys
from gateway.host.files import write_durable
from gateway.model.trust import Keys, PublicKey
from gateway.paths import Paths


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What the cloud keeps of a gateway."""

    gateway: str
    incarnation: str
    signer: PrivateKey
    """Of the authority `cloud`."""


def enrol(paths: Paths, gateway: str, broker_port: int = 8883) -> Enrolled:
    """Write `identity/enrolment.json`."""
    paths.prepare()
    root, signer = PrivateKey.generate(), PrivateKey.generate()
    root_public, signer_public = (public_from_pem(key.public_pem()) for key in (root, signer))
    keys = Keys(
        version=1,
        threshold=1,
        root_threshold=1,
        root={key_id(root_public): PublicKey(root_public)},
        signers={key_id(signer_public): PublicKey(signer_public, "cloud")},
    )
    incarnation = secrets.token_hex(8)
    enrolment = encode_enrolment(
        gateway, incarnation, "127.0.0.1", broker_port, secrets.token_hex(32), sign_keys(keys, [root])
    )
    write_durable(paths.identity / "enrolment.json", enrolment)
    return Enrolled(gateway, incarnation, signer)
