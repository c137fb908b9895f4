"""An APP package as a file, deployed on this gateway: read, imported into the image store, turned into a manifest.

The archive is what `packaging/image package --archive` writes (docs/hosted-apps.md). Used by `deploy.py`.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from gateway.cli.client import Agent
from gateway.errors import InvalidInput

SUFFIX: Final = ".tar"


def is_package(file: Path) -> bool:
    """By its name: what else is deployed is a Compose file."""
    return file.suffix == SUFFIX


def load_package(file: Path, host: str) -> dict[str, Any]:
    """Its Compose document, with the pinned reference by which the store will know it.

    InvalidInput: not one package, or its `app.toml` has faults, all of them named. NotFound, NotSupported, Corrupted.
    """
    from gateway.documents.package import app_toml, expand
    from gateway.images.archive import open_archive
    from gateway.images.manifest import is_index, parse_manifest
    from gateway.images.store import pinned_digest

    with contextlib.closing(open_archive(file)) as archive:
        if len(archive.images) != 1:
            raise InvalidInput(f"cannot deploy {file}: {len(archive.images)} images are in it, a package is one")
        (image,) = archive.images
        raw = archive.manifest("", pinned_digest(image))
        if is_index(raw):
            raise InvalidInput(f"cannot deploy {file}: it is for several platforms, a package is for one or any")
        config = parse_manifest(raw).config
        text = app_toml(archive.small_blob("", config.digest, config.size))
    return expand(text, image, host)


def import_package(agent: Agent, file: Path) -> None:
    """Have the agent take it into its store; fine if it is there."""
    for _ in agent.stream(f"/v1/images?{urlencode({'file': os.fspath(file.absolute())})}", "POST"):
        pass
