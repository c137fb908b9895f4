"""Where the bytes of images come from: what a registry and an archive have in common.

`puller.py` asks for manifests and configurations, `download.py` for layers; neither knows which of the two it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Stream(Protocol):
    def read(self, limit: int, /) -> bytes: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Body:
    """A blob from byte `start` to its end, a context. `size` is how many bytes are said to come; None: nobody says."""

    start: int
    size: int | None
    stream: Stream

    def read(self, limit: int) -> bytes:
        """Up to `limit` bytes, empty at the end. Unavailable: no more can be had now."""
        return self.stream.read(limit)

    def __enter__(self) -> Body:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()


class Source(Protocol):
    """Blocking: used from worker threads. `repository` is the reference's; what is returned whole is verified."""

    @property
    def host(self) -> str:
        """How people call it."""

    def manifest(self, repository: str, digest: str) -> bytes: ...

    def small_blob(self, repository: str, digest: str, size: int) -> bytes: ...

    def blob(self, repository: str, digest: str, offset: int) -> Body:
        """From `offset` on; a source that cannot begin there begins at 0."""

    def abort(self) -> None:
        """From another thread: what runs fails at once, and all that follows."""
