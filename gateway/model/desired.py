"""The desired state that one authority has signed for one gateway, and the verdict of the border worker on it."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model.app import App


@dataclass(frozen=True, slots=True)
class Desired:
    """What an authority wants to run here. An authority's APPs that are not in `apps` are to be removed."""

    gateway: str
    incarnation: str
    """Set at enrolment; a re-flashed gateway has another one, so that old envelopes cannot be replayed to it."""
    authority: str
    revision: int
    """Grows with every change; the same revision with other bytes is refused."""
    apps: tuple[App, ...] = ()


@dataclass(frozen=True, slots=True)
class AcceptedDesired:
    """A desired state that the border worker accepted: kept on disk, so that a boot needs no worker."""

    desired: Desired
    digest: str
    """sha256 of the envelope's payload, to tell a repeated revision from a forged one."""
    signers: tuple[str, ...]
    """Key ids whose signatures were good."""
