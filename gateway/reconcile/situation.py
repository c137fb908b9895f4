"""All that is known of one APP at a moment: what `fieldgate why` explains (`operations/explain.py`). Pure data.

Times without a unit in their name are seconds of the monotonic clock that the planner uses.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.reconcile.records import AppRecord, Pin
from gateway.reconcile.steps import Step
from gateway.reconcile.view import AppView


@dataclass(frozen=True, slots=True)
class Pulling:
    """A pull under way. Bytes are compressed ones, of all layers of the image."""

    image: str
    """Without its digest."""
    text: str
    layer: int
    """From 1 on; 0 until the manifest is known."""
    layers: int
    done_bytes: int
    total_bytes: int
    trouble: str = ""
    """Why no bytes come at the moment."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The last desired state of an authority was not accepted."""

    authority: str
    reason: str
    code: str
    since_ns: int


@dataclass(frozen=True, slots=True)
class Situation:
    view: AppView
    record: AppRecord
    authority: str
    """Who wants it; empty: nobody."""
    now: float
    desired_version: str = ""
    pin: Pin | None = None
    step: Step | None = None
    """Under way; the view is from before it."""
    pulling: Pulling | None = None
    engine_error: str = ""
    """Why the engine does not tell what runs; the view is from before that."""
    engine_error_ns: int = 0
