"""Where the cloud keeps what it must not lose: names of the files in its state directory, and how they are written.

Knows nothing of their content. Used by `server.py`, `authority.py` and the commands.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import Conflict, NotFound, Unavailable

DEFAULT: Final = "/var/lib/fieldgate-cloud"
VARIABLE: Final = "FIELDGATE_CLOUD_STATE"
MAX_FILE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class State:
    """The state directory."""

    directory: Path

    @classmethod
    def from_environment(cls) -> State:
        return cls(Path(os.environ.get(VARIABLE) or DEFAULT))

    @property
    def database(self) -> Path:
        return self.directory / "cloud.db"

    @property
    def socket(self) -> Path:
        """Where `serve` listens; only its user may connect."""
        return self.directory / "cloud.sock"

    @property
    def lock(self) -> Path:
        return self.directory / "serve.lock"

    @property
    def ca_certificate(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def ca_key(self) -> Path:
        return self.directory / "ca.key"

    @property
    def certificate(self) -> Path:
        """The cloud's own, by which it logs in at the broker."""
        return self.directory / "cloud.crt"

    @property
    def key(self) -> Path:
        return self.directory / "cloud.key"

    @property
    def root_key(self) -> Path:
        """Signs the keys document; belongs on a medium that is kept in a safe."""
        return self.directory / "root.key"

    def prepare(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def read(path: Path) -> bytes:
    """A whole small file. NotFound, Unavailable."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise NotFound(f"cannot read {path}: there is no such file") from None
    except OSError as failure:
        raise Unavailable(f"cannot read {path}: {failure.strerror}") from failure
    if len(content) > MAX_FILE_BYTES:
        raise Unavailable(f"cannot read {path}: more than {MAX_FILE_BYTES} bytes")
    return content


def write_new(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file that must not exist yet; it is there whole, and on disk, or not at all. Conflict, Unavailable."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with contextlib.ExitStack() as cleanup:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
            cleanup.callback(beside.unlink, missing_ok=True)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(beside, path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except FileExistsError:
        raise Conflict(f"cannot write {path}: it exists already") from None
    except OSError as failure:
        raise Unavailable(f"cannot write {path}: {failure.strerror}") from failure
