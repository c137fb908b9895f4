"""Good documents to start from: tests change one thing at a time."""

from __future__ import annotations

import copy
from typing import Any

from gateway.documents.desired import encode_desired, sign_desired
from gateway.documents.envelope import PrivateKey
from gateway.model.profile import AuthorityCaps
from gateway.model.trust import Expected, Keys, PublicKey

DIGEST = "sha256:" + "a" * 64
IMAGE = f"registry.example/apps/meter-reader:1.2.0@{DIGEST}"

MANIFEST: dict[str, Any] = {
    "name": "meter-reader",
    "services": {
        "reader": {
            "image": IMAGE,
            "x-esdk": {
                "serial": {"RS485-1": "transact"},
                "gpio": {"DI1": "read", "DO1": "write"},
                "tags": {"publish": ["meter/#"], "read": ["env/#"]},
            },
        }
    },
}


def manifest(**service: Any) -> dict[str, Any]:
    """The manifest with keys of its one service replaced; `x_esdk` stands for `x-esdk`."""
    document = copy.deepcopy(MANIFEST)
    document["services"]["reader"].update({key.replace("x_esdk", "x-esdk"): value for key, value in service.items()})
    return document


def keys(root: PrivateKey, signer: PrivateKey, version: int = 1, authority: str = "cloud") -> Keys:
    """A keys document with one root and one signer."""
    return Keys(
        version=version,
        threshold=1,
        root_threshold=1,
        root={root.id: PublicKey(root.public)},
        signers={signer.id: PublicKey(signer.public, authority)},
    )


def expected(*signers: PrivateKey, threshold: int = 1, caps: AuthorityCaps | None = None) -> Expected:
    """What gw-1 expects of the authority cloud."""
    return Expected(
        gateway="gw-1",
        incarnation="inc-1",
        authority="cloud",
        signers={key.id: key.public for key in signers},
        threshold=threshold,
        caps=caps or AuthorityCaps(serial=("*",), gpio=("*",)),
        serial=("RS485-1",),
        gpio={"DI1": False, "DO1": True},
    )


def envelope(signer: PrivateKey, revision: int = 1, *, gateway: str = "gw-1", incarnation: str = "inc-1",
             authority: str = "cloud", document: dict[str, Any] | None = None) -> bytes:  # fmt: skip
    """A signed desired state with one APP."""
    payload = encode_desired(gateway, incarnation, authority, revision, {"meter-reader": document or MANIFEST})
    return sign_desired(payload, [signer])
