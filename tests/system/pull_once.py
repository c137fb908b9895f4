"""A process that pulls one image: `python -m tests.system.pull_once DIRECTORY HOST IMAGE`; made to be killed."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.system.pulls import open_store, pull, puller

if __name__ == "__main__":
    pull(puller(open_store(Path(sys.argv[1])), sys.argv[2]), sys.argv[3])
