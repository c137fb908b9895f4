"""Pushes an image layout to a registry (OCI distribution-spec 1.1, monolithic uploads), skipping what is there.

Anonymous only: it serves the demo, the tests and registries on a build machine's own network. Used by `main.py`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from imagebuild import BuildError
from imagebuild.layout import MANIFEST_TYPE, Image, read_layout

TIMEOUT_S = 60.0


def push(layout: Path, reference: str, *, plain_http: bool) -> str:
    """Push to `host[:port]/repository[:tag]`; returns the pinned reference. BuildError: the registry refuses."""
    host, slash, path = reference.partition("/")
    repository, _, tag = path.partition(":")
    if not slash or not repository or "@" in reference:
        raise BuildError(f"cannot push to {reference!r}: it must be host/repository[:tag]")
    image = read_layout(layout)
    registry = _Registry(f"{'http' if plain_http else 'https'}://{host}")
    for entry in [image.manifest["config"], *image.manifest["layers"]]:
        _push_blob(registry, repository, image, entry["digest"])
    with image.blob(image.digest).open("rb") as body:
        headers = {"Content-Type": MANIFEST_TYPE}
        registry.call("PUT", f"/v2/{repository}/manifests/{tag or image.digest}", (201,), body, headers)
    return f"{host}/{repository}{f':{tag}' if tag else ''}@{image.digest}"


def _push_blob(registry: _Registry, repository: str, image: Image, digest: str) -> None:
    if registry.call("HEAD", f"/v2/{repository}/blobs/{digest}", (200, 404))[0] == 200:
        return
    _, location = registry.call("POST", f"/v2/{repository}/blobs/uploads/", (202,))
    target = f"{location}{'&' if '?' in location else '?'}digest={digest}"
    with image.blob(digest).open("rb") as body:
        registry.call("PUT", target, (201,), body, {"Content-Type": "application/octet-stream"})


class _Registry:
    def __init__(self, base: str) -> None:
        self._base = base

    def call(
        self,
        method: str,
        path: str,
        accepted: tuple[int, ...],
        body: object = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, str]:
        """One request; (status, absolute Location). `body` is an open file."""
        url = urljoin(self._base, path)
        length = {"Content-Length": str(_length(body))} if method in ("PUT", "POST") else {}
        with self._connection(url) as connection:
            try:
                target = url.removeprefix(f"{urlsplit(url).scheme}://{urlsplit(url).netloc}")
                connection.request(method, target, body=body, headers={**length, **(headers or {})})  # type: ignore[arg-type]
                response = connection.getresponse()
                answer = response.read(65536)
            except (OSError, http.client.HTTPException) as failure:
                raise BuildError(f"cannot push to {self._base}: {failure}") from failure
        if response.status not in accepted:
            raise BuildError(f"cannot push to {url}: HTTP {response.status}: {_cause(answer)}")
        return response.status, urljoin(url, response.headers.get("Location") or "")

    @contextlib.contextmanager
    def _connection(self, url: str) -> Iterator[http.client.HTTPConnection]:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.netloc, timeout=TIMEOUT_S)
        try:
            yield connection
        finally:
            connection.close()


def _length(body: object) -> int:
    return Path(body.name).stat().st_size if body is not None else 0  # type: ignore[attr-defined]


def _cause(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["errors"][0]["message"])
    except (ValueError, KeyError, IndexError, TypeError):
        return answer[:200].decode(errors="replace").strip() or "no reason given"
