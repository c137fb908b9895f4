"""Starts the unpacking process for one layer and reads its verdict.

`unpack.py` is what runs there. Used by `store.py`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Final

from gateway.errors import Corrupted, from_json
from gateway.host.process import run_tool
from gateway.images.manifest import Descriptor

TIMEOUT_S: Final = 1800.0
"""The largest layers on the slowest eMMC."""
MAX_ENTRIES: Final = 500_000
MAX_BYTES: Final = 16 << 30
_PACKAGE_ROOT: Final = Path(__file__).resolve().parents[2]
_BOOTSTRAP: Final = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from gateway.images.unpack import main; sys.exit(main())"
)
"""Isolated mode has neither the working directory nor PYTHONPATH: this finds the very package that runs here."""


async def unpack_layer(blob: Path, layer: Descriptor, diff_id: str, target: Path, max_bytes: int) -> int:
    """Fill the empty directory `target`, synced to disk; returns the bytes of data in it.

    Corrupted: not the layer that `diff_id` names. InvalidInput, NotSupported: what it holds is refused. Unavailable:
    more than `max_bytes`, or the disk is full. Whatever was written is the caller's to remove.
    """
    finished = await run_tool(
        [
            sys.executable, "-I", "-c", _BOOTSTRAP, str(_PACKAGE_ROOT),
            f"--blob={blob}", f"--compression={layer.compression}", f"--target={target}", f"--diff-id={diff_id}",
            f"--max-bytes={min(max_bytes, MAX_BYTES)}", f"--max-entries={MAX_ENTRIES}", f"--parent={os.getpid()}",
        ],
        timeout_s=TIMEOUT_S,
    )  # fmt: skip
    try:
        verdict = json.loads(finished.stdout)
        if "error" in verdict:
            raise from_json(verdict["error"])
        return int(verdict["ok"]["bytes"])
    except (ValueError, KeyError, TypeError) as failure:
        raise Corrupted(f"cannot unpack {diff_id}: the unpacking process gave no verdict") from failure
