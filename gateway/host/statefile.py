"""A JSON state file with a schema version: durable write, migration forward, clear refusal backward.

On disk: `{"schema": N, "content": ...}` in canonical JSON. Used for everything small that the agent must remember.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gateway.errors import Corrupted, NotSupported
from gateway.host.files import read_limited, remove_durable, write_durable, write_whole
from gateway.model.wire import canonical

MAX_BYTES = 8 << 20

Migration = Callable[[Any], Any]


class StateFile:
    """One file. `migrations[n]` turns content of schema n into content of schema n + 1."""

    def __init__(self, path: Path, schema: int = 1, migrations: Mapping[int, Migration] | None = None) -> None:
        self.path = path
        self.schema = schema
        self._migrations = migrations or {}

    def read(self) -> Any:
        """The content in the current schema, or None when there is no file.

        Corrupted: not our JSON. NotSupported: written by a newer agent, or by one so old that no migration is left.
        """
        try:
            raw = read_limited(self.path, MAX_BYTES)
        except FileNotFoundError:
            return None
        try:
            document = json.loads(raw)
            schema, content = int(document["schema"]), document["content"]
        except (ValueError, KeyError, TypeError, RecursionError) as failure:
            raise Corrupted(f"cannot read {self.path}: {failure!r}") from failure
        if schema > self.schema:
            raise NotSupported(
                f"cannot read {self.path}: schema {schema} is newer than this agent's {self.schema}",
                hint="install the agent version that wrote it, or a newer one",
            )
        while schema < self.schema:
            if schema not in self._migrations:
                raise NotSupported(f"cannot read {self.path}: no migration from schema {schema} to {schema + 1}")
            content = self._migrations[schema](content)
            schema += 1
        return content

    def write(self, content: Any, *, durable: bool = True) -> None:
        """Replace the content durably. Blocks for an fsync: call it from a thread where the event loop matters.

        `durable` is False for what lies on tmpfs and is gone with the power anyway.
        """
        write = write_durable if durable else write_whole
        write(self.path, canonical({"schema": self.schema, "content": content}))

    def remove(self) -> None:
        remove_durable(self.path)
