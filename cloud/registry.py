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
from gateway.model import names
from gateway.model.image import Reference

TIMEOUT_S: Final = 15.0
MAX_MANIFEST_BYTES: Final = 4 << 20
MAX_CONFIG_BYTES: Final = 256 << 10
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
    return image if reference.digest else _manifest(reference, plain_http)[0]


def package(image: str, plain_http: Collection[str] = ()) -> tuple[str, bytes]:
    """An APP package by tag or digest: pinned, and its configuration. InvalidInput when it is an index."""
    reference = Reference.parse(image)
    image, body = _manifest(reference, plain_http)
    try:
        config = json.loads(body)["config"]["digest"]
    except (KeyError, TypeError):
        raise InvalidInput(f"cannot use {image}: it is no package of one platform") from None
    if not names.DIGEST.fullmatch(str(config)):
        raise InvalidInput(f"cannot use {image}: its manifest names no configuration by digest")
    found = _fetch(reference, f"blobs/{config}", plain_http, MAX_CONFIG_BYTES)
    if f"sha256:{hashlib.sha256(found).hexdigest()}" != config:
        raise Unavailable(f"cannot use {image}: what the registry sent is not the configuration {config}")
    return image, found


def _manifest(reference: Reference, plain_http: Collection[str]) -> tuple[str, bytes]:
    """(pinned reference, manifest) of a tag (`latest` without) or digest."""
    tag = reference.tag or "latest"
    body = _fetch(reference, f"manifests/{reference.digest or tag}", plain_http, MAX_MANIFEST_BYTES)
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    try:
        json.loads(body)
    except ValueError:
        raise Unavailable(f"cannot resolve {_what(reference)}: what the registry sent is no manifest") from None
    if reference.digest not in ("", digest):
        raise Unavailable(f"cannot resolve {_what(reference)}: the registry sent another one")
    return str(reference if reference.digest else replace(reference, tag=tag, digest=digest)), body


def _fetch(reference: Reference, path: str, plain_http: Collection[str], limit: int) -> bytes:
    scheme, what = "http" if reference.host in plain_http else "https", _what(reference)
    url = f"{scheme}://{reference.host}/v2/{reference.repository}/{path}"
    try:
        return _get(url, {"Accept": _ACCEPT}, limit)
    except urllib.error.HTTPError as failure:
        with failure:
            challenge = failure.headers.get("WWW-Authenticate", "")
            if failure.code != 401 or not challenge.lower().startswith("bearer "):
                raise _status(what, failure.code) from None
        return _with_token(url, challenge, what, limit)
    except OSError as failure:
        raise _unreachable(what, failure, scheme) from failure


def _what(reference: Reference) -> str:
    tag = reference.digest or reference.tag or "latest"
    return f"{reference.host}/{reference.repository}:{tag}"


def _with_token(url: str, challenge: str, what: str, limit: int) -> bytes:
    """Once more, with the token that the registry's token service gives to anybody."""
    parameters = dict(_PARAMETER.findall(challenge))
    realm = parameters.pop("realm", "")
    if not realm.startswith("https://"):
        raise NotPermitted(f"cannot resolve {what}: the registry wants credentials")
    query = urlencode({key: value for key, value in parameters.items() if key in ("service", "scope")})
    try:
        token = json.loads(_get(f"{realm}?{query}", {}, MAX_TOKEN_BYTES))
        bearer = token.get("token") or token.get("access_token")
        return _get(url, {"Accept": _ACCEPT, "Authorization": f"Bearer {bearer}"}, limit)
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
    request = urllib.request.Request(url)
    for name, value in headers.items():
        # A blob may lie elsewhere: there a token is nobody's business.
        (request.add_unredirected_header if name == "Authorization" else request.add_header)(name, value)
    with opener.open(request, timeout=TIMEOUT_S) as answer:
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
