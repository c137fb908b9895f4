"""The name that tells the containers of one agent from those of another on the same machine. Pure."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

DEFAULT_RUN: Final = Path("/run/fieldgate/engine")


def instance_name(run: Path) -> str:
    """`fieldgate`, or with a suffix of its own where the engine's run directory is another one (tests have many)."""
    suffix = "" if run == DEFAULT_RUN else "-" + hashlib.sha256(os.fsencode(run)).hexdigest()[:8]
    return f"fieldgate{suffix}"
