"""Reads of an image's files that never follow a link out of it: an image is data from outside."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from gateway.engines.users import User, resolve_user

MAX_BYTES: Final = 256 << 10


def user_of(wanted: str, layers: tuple[Path, ...]) -> User:
    """As `resolve_user`, by the accounts that the image has."""
    return resolve_user(wanted, read_image_file(layers, "etc/passwd"), read_image_file(layers, "etc/group"))


def read_image_file(layers: tuple[Path, ...], name: str) -> str:
    """The text of `name` (relative, as in `etc/passwd`) from the uppermost layer that has it; "" when none does.

    Only a regular file in directories that are no links counts; a whiteout hides what is below it.
    """
    for layer in layers:
        try:
            descriptor = _open_below(layer, name)
        except FileNotFoundError:
            continue
        except OSError:
            return ""
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return ""
            return file.read(MAX_BYTES).decode(errors="replace")
    return ""


def _open_below(layer: Path, name: str) -> int:
    directory = os.open(layer, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    *parents, last = name.split("/")
    try:
        for parent in parents:
            step = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            os.close(directory)
            directory = step
        return os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    finally:
        os.close(directory)
