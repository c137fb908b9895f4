"""A client of one registry (OCI distribution-spec 1.1, pull only): authorisation, redirects, manifests, blobs by range.

Blocking: runs in a worker thread. Verifies the digest of what it returns whole (manifests, configurations); a streamed
layer is verified by `download.py`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlencode, urljoin

from gateway.errors import Corrupted, FieldgateError, NotFound, NotPermitted, NotSupported, Unavailable
from gateway.images.challenge import Challenge, parse_challenge
from gateway.images.manifest import INDEX_TYPES, MANIFEST_TYPES, MAX_MANIFEST_BYTES
from gateway.images.source import Body
from gateway.images.transport import Answer, Target, Transport

MAX_REDIRECTS: Final = 5
MAX_TOKEN_BYTES: Final = 64 << 10
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,32768}")

Credentials = Callable[[str], tuple[str, str] | None]
"""User name and password for a registry host, or None: anonymous."""


class Registry:
    """A `Source`: one pull's view of one registry; not shared between threads (`abort()` may come from anywhere)."""

    def __init__(self, host: str, plain_http: Sequence[str], credentials: Credentials | None = None) -> None:
        self.host = host
        self._transport = Transport(plain_http)
        self._base = self._transport.base(host)
        self._credentials = credentials(host) if credentials else None
        self._authorization = ""

    def manifest(self, repository: str, digest: str) -> bytes:
        """The manifest or index with that digest, verified."""
        accept = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))
        return self._whole(repository, f"manifests/{digest}", digest, MAX_MANIFEST_BYTES, {"Accept": accept})

    def small_blob(self, repository: str, digest: str, size: int) -> bytes:
        """A blob of exactly `size` bytes, verified, in memory."""
        return self._whole(repository, f"blobs/{digest}", digest, size, {})

    def blob(self, repository: str, digest: str, offset: int) -> Body:
        """Open a blob from `offset` on (HTTP 206), or from the start where the registry has no ranges (200)."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        answer = self._get(repository, f"blobs/{digest}", headers)
        if answer.status == 206:
            start = re.match(r"bytes (\d{1,19})-", answer.header("Content-Range"))
            if start is None or int(start[1]) != offset:
                found = answer.header("Content-Range")[:100]
                answer.close()
                raise Unavailable(f"cannot resume {digest} at {offset}: {self.host} sent Content-Range {found!r}")
        announced = answer.header("Content-Length")
        size = int(announced) if announced.isdigit() else None
        return Body(offset if answer.status == 206 else 0, size, answer)

    def abort(self) -> None:
        self._transport.abort()

    def _whole(self, repository: str, path: str, digest: str, limit: int, headers: dict[str, str]) -> bytes:
        with self._get(repository, path, headers) as answer:
            body = answer.read_all(limit)
        if (found := f"sha256:{hashlib.sha256(body).hexdigest()}") != digest:
            raise Corrupted(f"cannot use {self.host}/{repository}@{digest}: {self.host} sent bytes with digest {found}")
        return body

    def _get(self, repository: str, path: str, headers: dict[str, str]) -> Answer:
        """GET below the repository: authorised when asked, redirects followed; any final status but 200/206 raises."""
        what = f"{self.host}/{repository}/{path}"
        url = f"{self._base}/v2/{repository}/{path}"
        asked = False
        for _ in range(MAX_REDIRECTS + 2):
            own = _origin(url) == _origin(self._base)
            # Storage behind the registry must not see our credentials: they go to the registry itself only.
            extra = {"Authorization": self._authorization} if own and self._authorization else {}
            answer = self._transport.get(url, {**headers, **extra})
            if answer.status in (200, 206):
                return answer
            answer.close()
            if answer.status == 401 and own and not asked:
                asked = True
                self._authorization = self._authorize(parse_challenge(answer.header("WWW-Authenticate")), repository)
            elif answer.status in (301, 302, 303, 307, 308) and answer.header("Location"):
                url = _follow(url, answer.header("Location"))
            else:
                raise _status_error(what, answer.status)
        raise Unavailable(f"cannot pull {what}: more than {MAX_REDIRECTS} redirects")

    def _authorize(self, challenge: Challenge, repository: str) -> str:
        """The Authorization header that answers the challenge."""
        basic = ""
        if self._credentials is not None:
            basic = "Basic " + base64.b64encode(":".join(self._credentials).encode()).decode()
        if challenge.scheme == "basic" and basic:
            return basic
        if challenge.scheme != "bearer":
            raise NotPermitted(f"cannot pull {self.host}/{repository}: the registry asks for credentials")
        query = {"scope": challenge.scope or f"repository:{repository}:pull"}
        if challenge.service:
            query["service"] = challenge.service
        url = f"{challenge.realm}{'&' if '?' in challenge.realm else '?'}{urlencode(query)}"
        with self._transport.get(url, {"Authorization": basic} if basic else {}) as answer:
            if answer.status != 200:
                raise _status_error(f"a token for {self.host}/{repository}", answer.status)
            body = answer.read_all(MAX_TOKEN_BYTES)
        return f"Bearer {_token(body, self.host)}"


def _token(body: bytes, host: str) -> str:
    try:
        document = json.loads(body)
        token = document.get("token") or document.get("access_token")
    except (ValueError, AttributeError, RecursionError):
        token = None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise Corrupted(f"cannot pull from {host}: its token service sent no token")
    return token


def _origin(url: str) -> tuple[str, str]:
    target = Target.parse(url)
    return target.scheme, target.netloc.lower()


def _follow(url: str, location: str) -> str:
    """Where a redirect leads; never from TLS to plain HTTP, whatever the profile permits."""
    try:
        following = urljoin(url, location)
    except ValueError as failure:
        raise Corrupted(f"cannot follow the registry to {location[:200]!r}: {failure}") from failure
    if url.startswith("https:") and Target.parse(following).scheme == "http":
        raise NotPermitted(f"cannot follow the redirect of {Target.parse(url).netloc}: it leads from TLS to plain HTTP")
    return following


def _status_error(what: str, status: int) -> FieldgateError:
    if status in (401, 403):
        return NotPermitted(f"cannot pull {what}: the registry refuses it (HTTP {status})")
    if status in (404, 410):
        return NotFound(f"cannot pull {what}: the registry does not have it")
    if status == 416:
        return Unavailable(f"cannot resume {what}: the registry refuses the range (HTTP 416)")
    if status == 429 or status >= 500:
        return Unavailable(f"cannot pull {what}: the registry is busy or broken (HTTP {status})")
    return NotSupported(f"cannot pull {what}: unexpected HTTP status {status}")
