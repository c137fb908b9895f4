"""Who may sign: the keys document once verified, and what is expected of a desired state.

Built by `documents/keys.py` and `trust/keyring.py`, handed to the border worker.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.model.profile import AuthorityCaps


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An ed25519 public key."""

    public: str
    """Its 32 bytes, hexadecimal. The key's id is the sha256 of these bytes, hexadecimal."""
    authority: str = ""
    """For whom it signs; empty for a root key."""


@dataclass(frozen=True, slots=True)
class Keys:
    """A `keys` document: which keys sign for which authority, and who may change that."""

    version: int
    threshold: int
    """How many of an authority's signers must sign a desired state."""
    root_threshold: int
    """How many of the root keys must sign the next version of this document."""
    root: dict[str, PublicKey] = field(default_factory=dict)
    signers: dict[str, PublicKey] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a desired state must be to be accepted here from one authority."""

    gateway: str
    incarnation: str
    authority: str
    signers: dict[str, str]
    """Key id -> public key, hexadecimal."""
    threshold: int
    caps: AuthorityCaps
    serial: tuple[str, ...] = ()
    """Ports that this board has."""
    gpio: dict[str, bool] = field(default_factory=dict)
    """Lines that this board has; True for an output."""
    engines: tuple[str, ...] = ("oci",)
    """That this board runs APPs on."""
