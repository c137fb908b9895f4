"""What the border worker said about files that rarely change (profile, config, enrolment): remembered across boots.

One state file per kind, `verdict-{kind}.json`: the sha256 of the source text and the accepted value. Another text,
another agent version or a damaged file means that the worker is asked again. Blocks for I/O: `border.py` calls it in a
thread.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TypeVar

from gateway import __version__
from gateway.errors import FieldgateError
from gateway.host.statefile import StateFile
from gateway.model.wire import from_wire, to_wire

log = logging.getLogger(__name__)

T = TypeVar("T")


class Verdicts:
    """The files below one directory, which is root's alone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, kind: str, model: type[T], text: bytes) -> T | None:
        """What was accepted for exactly this text by exactly this version of the agent; None if unknown."""
        try:
            content = self._file(kind).read()
            if content is None or content["source"] != _identity(text):
                return None
            return from_wire(model, content["value"])
        except (FieldgateError, KeyError, TypeError, OSError) as failure:
            log.warning("remembered verdict unusable kind=%s cause=%s", kind, failure)
            return None

    def remember(self, kind: str, value: object, text: bytes) -> None:
        """Keep `value` for `text`. A full disk only means that the worker is asked again."""
        try:
            self._file(kind).write({"source": _identity(text), "value": to_wire(value)})
        except OSError as failure:
            log.warning("verdict not remembered kind=%s cause=%s", kind, failure)

    def _file(self, kind: str) -> StateFile:
        return StateFile(self._directory / f"verdict-{kind}.json")


def _identity(text: bytes) -> str:
    return f"{__version__}:{hashlib.sha256(text).hexdigest()}"
