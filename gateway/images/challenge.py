"""What a registry asks for with a 401: the `WWW-Authenticate` header taken apart (RFC 9110 section 11.6.1).

Pure. Used by `registry.py`, which answers it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_PARAMETER: Final = re.compile(r'([A-Za-z0-9_-]{1,64})\s*=\s*(?:"((?:[^"\\]|\\.){0,2048})"|([^\s",]{1,2048}))')
_SCHEME: Final = re.compile(r"^\s*(Basic|Bearer)(?:\s|$)", re.IGNORECASE)
MAX_CHARS: Final = 8192


@dataclass(frozen=True, slots=True)
class Challenge:
    """`scheme` is `basic` or `bearer`; empty when the server asked for something else or for nothing."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


def parse_challenge(header: str) -> Challenge:
    """The first challenge of the header. Never fails: what cannot be read has an empty scheme."""
    header = header[:MAX_CHARS]
    scheme = _SCHEME.match(header)
    if scheme is None:
        return Challenge("")
    parameters: dict[str, str] = {}
    for key, quoted, token in _PARAMETER.findall(header[scheme.end() :]):
        parameters.setdefault(key.lower(), re.sub(r"\\(.)", r"\1", quoted) or token)
    return Challenge(
        scheme[1].lower(), parameters.get("realm", ""), parameters.get("service", ""), parameters.get("scope", "")
    )
