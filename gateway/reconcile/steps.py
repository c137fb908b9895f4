"""The steps that a plan is made of: what to do next for one APP. Data only; `execute.py` does them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.model.app import App, Service
from gateway.reconcile.view import HostView

UNHEALTHY: Final = "unhealthy"
"""Reason of a Stop that counts as a failure of the container."""


@dataclass(frozen=True, slots=True)
class Pull:
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Create:
    """A new container of the service, with its endpoint bound before it can run."""

    service: Service
    at_least: int
    """Its generation must not be below."""
    host: HostView | None = None
    """What it is to live in."""
    spare: bool = False
    """It is not to be started now: it waits for the end of the one that runs."""


@dataclass(frozen=True, slots=True)
class Start:
    container: str
    service: str


@dataclass(frozen=True, slots=True)
class Stop:
    container: str
    service: str
    grace_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Remove:
    container: str
    service: str


@dataclass(frozen=True, slots=True)
class MarkGood:
    """The target has passed its gate: it is what a later version rolls back to."""

    version: App


@dataclass(frozen=True, slots=True)
class MarkFailed:
    """The target has failed its gate: go back to the last good version."""

    version: App
    reason: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Nothing of a removed APP is left but its volumes."""


Step = Pull | Create | Start | Stop | Remove | MarkGood | MarkFailed | Forget
