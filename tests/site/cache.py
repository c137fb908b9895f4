"""Directories that take long to make, kept in the user's cache from one clone of this tree to the next.

Each is named by what it is made from, so another version is another directory. Two runs that want the same one at the
same time make it once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

KEPT_S: Final = 14 * 86_400.0
"""A version that nobody has used for this long goes when a new one is made."""


def cache_directory() -> Path:
    """`$XDG_CACHE_HOME/fieldgate`, by default `~/.cache/fieldgate`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "fieldgate")


def cached(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """The directory that `make` has filled, once for each `key`; whoever uses it leaves it as it is."""
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    made = cache / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    with (cache / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_dir():
            _remove_old(cache, name)
            with tempfile.TemporaryDirectory(dir=cache, prefix=f".{name}-") as scratch:
                directory = Path(scratch, "made")
                directory.mkdir(mode=0o755)
                make(directory)
                directory.rename(made)
    os.utime(made)
    return made


def _remove_old(cache: Path, name: str) -> None:
    """Also what a run left that was killed: its lock is ours now."""
    for path in (*cache.glob(f"{name}-*"), *cache.glob(f".{name}-*")):
        if path.name.startswith(".") or path.stat().st_mtime < time.time() - KEPT_S:
            shutil.rmtree(path)
