"""Logging set-up: one line per change of state on stderr, `time level room message key=value ...`."""

from __future__ import annotations

import logging
import sys


def configure(level: str) -> None:
    """Log to stderr at `level` (`debug`, `info`, `warning`, `error`). The journal adds what it wants."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
