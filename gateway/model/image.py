"""Container images: how they are named, and what the store hands to an engine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import InvalidInput
from gateway.model import names

_HOST: Final = re.compile(r"([A-Za-z0-9]([A-Za-z0-9.-]{0,253}[A-Za-z0-9])?|\[[0-9A-Fa-f:]{2,39}\])(:[0-9]{1,5})?")
_REPOSITORY: Final = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
"""OCI distribution-spec 1.1, "Pulling manifests"."""
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_MAX_REPOSITORY_CHARS: Final = 255


@dataclass(frozen=True, slots=True)
class Reference:
    """`host[:port]/repository[:tag][@sha256:<hex>]`, host always spelled out: there is no default registry here."""

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """InvalidInput when the host or the repository is missing, or the digest is not a sha256."""
        rest, at, digest = text.partition("@")
        host, slash, path = rest.partition("/")
        repository, colon, tag = path.partition(":")
        if not slash or not repository or not ("." in host or ":" in host or host == "localhost"):
            raise InvalidInput(
                f"cannot use image {text!r}: it must name its registry, as in registry.example/apps/reader"
            )
        valid = _HOST.fullmatch(host) and ".." not in host and len(repository) <= _MAX_REPOSITORY_CHARS
        if not valid or not _REPOSITORY.fullmatch(repository) or (colon and not _TAG.fullmatch(tag)):
            raise InvalidInput(f"cannot use image {text[:300]!r}: not host[:port]/repository[:tag][@sha256:...]")
        if at and not names.DIGEST.fullmatch(digest):
            raise InvalidInput(f"cannot use image {text!r}: the digest must be sha256 and 64 hexadecimal digits")
        return cls(host, repository, tag, digest)

    def __str__(self) -> str:
        tag, digest = f":{self.tag}" if self.tag else "", f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.repository}{tag}{digest}"


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What the image's own configuration says about its process (OCI image-spec, config.md)."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    """`KEY=value`."""
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""


@dataclass(frozen=True, slots=True)
class Rootfs:
    """An unpacked image: `layers` are directories, uppermost first, ready to be overlayfs lower layers."""

    digest: str
    """Of the manifest, `sha256:<hex>`."""
    layers: tuple[Path, ...]
    config: ImageConfig
    is_package: bool = False
    """Its layers are no root file system: they are put into one (docs/hosted-apps.md)."""
