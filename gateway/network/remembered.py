"""What the network must know after the agent was killed: its links and the rest, on tmpfs, gone with a reboot."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.errors import FieldgateError
from gateway.model.wire import canonical, from_wire, to_wire
from gateway.network.layout import Link

log = logging.getLogger(__name__)

SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class Remembered:
    links: tuple[Link, ...] = ()
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Name -> its addresses when they were last looked up."""
    forwarding_begun: tuple[str, ...] = ()
    """Of `ipv4`, `ipv6`: forwarding was off there before we came."""
    schema: int = SCHEMA


def load(file: Path) -> Remembered:
    """Nothing when there is no file; what cannot be read is as good as none: every link is made again."""
    try:
        remembered = from_wire(Remembered, json.loads(file.read_bytes()))
    except FileNotFoundError:
        return Remembered()
    except (OSError, ValueError, FieldgateError) as failure:
        log.error("network state not read cause=%s", failure)
        return Remembered()
    return remembered if remembered.schema == SCHEMA else Remembered()


def save(file: Path, remembered: Remembered) -> None:
    """At once or not at all; it need not survive a power cut. OSError."""
    temporary = file.with_suffix(".new")
    temporary.write_bytes(canonical(to_wire(remembered)))
    os.rename(temporary, file)


def rewrite(file: Path, text: str) -> None:
    """New content in the same file: containers have it mounted. OSError."""
    with contextlib.suppress(FileNotFoundError):
        if file.read_text() == text:
            return
    with file.open("r+" if file.exists() else "w") as opened:
        opened.write(text)
        opened.truncate()
