"""Tags to digests: asks a registry what a tag stands for now, so that what is signed names bytes, not a promise.

HTTPS, anonymous or with the registry's anonymous token; plain HTTP only for hosts that the caller names. The digest is
computed from the manifest itself, never taken from a header. Blocking; used by `deploy`.
"""

from __future__ import annotations

import hashlib
import json
import re
import urllib.error
import urllib.request
from collections.abc import Collection
from dataclasses import replace
from typing import Final
from urllib.parse import urlencode

from gateway.errors import FieldgateError, InvalidInput, NotFound, NotPermitted, Unavailable
from gateway.model.image import Reference

TIMEOUT_S: Final = 15.0
MAX_MANIFEST_BYTES: Final = 4 << 20
MAX_TOKEN_BYTES: Final = 64 << 10
_ACCEPT: Final = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_PARAMETER: Final = re.compile(r'(\w+)="([^"]{0,2000})"')


def pinned(image: str, plain_http: Collection[str] = ()) -> str:
    """`image` with the digest that its tag (`latest` without) has now; as it is when it has one already."""
    reference = Reference.parse(image)
    if reference.digest:
        return image
    scheme = "http" if reference.host in plain_http else "https"
    tag = reference.tag or "latest"
    url = f"{scheme}://{reference.host}/v2/{reference.repository}/manifests/{tag}"
    what = f"{reference.host}/{reference.repository}:{tag}"
    try:
        body = _get(url, {"Accept": _ACCEPT}, MAX_MANIFEST_BYTES)
    except urllib.error.HTTPError as failure:
        with failure:
            challenge = failure.headers.get("WWW-Authenticate", "")
            if failure.code != 401 or not challenge.lower().startswith("bearer "):
                raise _status(what, failure.code) from None
        body = _with_token(url, challenge, what)
    except OSError as failure:
        raise _unreachable(what, failure, scheme) from failure
    try:
        json.loads(body)
    except ValueError:
        raise Unavailable(f"cannot resolve {what}: what the registry sent is no manifest") from None
    return str(replace(reference, tag=tag, digest=f"sha256:{hashlib.sha256(body).hexdigest()}"))


def _with_token(url: str, challenge: str, what: str) -> bytes:
    """Once more, with the token that the registry's token service gives to anybody."""
    parameters = dict(_PARAMETER.findall(challenge))
    realm = parameters.pop("realm", "")
    if not realm.startswith("https://"):
        raise NotPermitted(f"cannot resolve {what}: the registry wants credentials")
    query = urlencode({key: value for key, value in parameters.items() if key in ("service", "scope")})
    try:
        token = json.loads(_get(f"{realm}?{query}", {}, MAX_TOKEN_BYTES))
        bearer = token.get("token") or token.get("access_token")
        return _get(url, {"Accept": _ACCEPT, "Authorization": f"Bearer {bearer}"}, MAX_MANIFEST_BYTES)
    except urllib.error.HTTPError as failure:
        with failure:
            raise _status(what, failure.code) from None
    except OSError as failure:
        raise _unreachable(what, failure, "https") from failure
    except (ValueError, AttributeError):
        raise Unavailable(f"cannot resolve {what}: the token service sent no token") from None


def _get(url: str, headers: dict[str, str], limit: int) -> bytes:
    # A proxy is for the way out; a registry that speaks plain HTTP is next door.
    proxies = [urllib.request.ProxyHandler({})] if url.startswith("http://") else []
    opener = urllib.request.build_opener(*proxies)
    with opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S) as answer:
        body: bytes = answer.read(limit + 1)
    if len(body) > limit:
        raise InvalidInput(f"cannot read {url[:200]}: more than {limit} bytes")
    return body


def _status(what: str, status: int) -> FieldgateError:
    if status in (401, 403):
        return NotPermitted(f"cannot resolve {what}: the registry refuses it (HTTP {status})")
    if status == 404:
        return NotFound(f"cannot resolve {what}: the registry does not have it")
    return Unavailable(f"cannot resolve {what}: HTTP {status}")


def _unreachable(what: str, failure: OSError, scheme: str) -> Unavailable:
    cause = getattr(failure, "reason", None) or failure
    host = what.partition("/")[0]
    wrong_version = scheme == "https" and "WRONG_VERSION_NUMBER" in str(cause)
    hint = f"it speaks plain HTTP; --plain-http {host} permits that" if wrong_version else ""
    return Unavailable(f"cannot resolve {what}: {cause}", hint=hint)
