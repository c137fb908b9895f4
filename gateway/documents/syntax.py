"""Bytes to plain values (dict, list, str, int, float, bool, None) for JSON and TOML, within limits.

Refuses what a later step would stumble over: duplicate keys, NaN and infinities, integers beyond 64 bits, NUL and lone
surrogates in strings, deep or huge documents. Knows nothing of what the values mean. YAML is in `yaml_syntax.py`.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterator
from typing import Any, Final

from gateway.errors import InvalidInput

MAX_DEPTH: Final = 32
MAX_VALUES: Final = 20_000
"""Values in one document, those that YAML aliases repeat included."""
MAX_STRING_CHARS: Final = 64 << 10
MAX_INTEGER: Final = (1 << 63) - 1


def refused(what: str, cause: str) -> InvalidInput:
    """The error of this package for a document that cannot be read at all."""
    return InvalidInput(f"cannot read {what}: {cause}")


def text_of(data: bytes, what: str, limit_bytes: int) -> str:
    """`data` as text; InvalidInput when it is too long or not UTF-8."""
    if len(data) > limit_bytes:
        raise refused(what, f"{len(data)} bytes are more than the {limit_bytes} that are allowed")
    try:
        return data.decode()
    except UnicodeDecodeError as failure:
        raise refused(what, f"not UTF-8 at byte {failure.start}") from None


def parse_json(data: bytes, what: str, limit_bytes: int, *, max_string_chars: int = MAX_STRING_CHARS) -> Any:
    """The JSON value. InvalidInput says what is wrong with it and, if known, where."""
    text = text_of(data, what, limit_bytes)
    try:
        value = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except RecursionError:
        raise refused(what, f"nested deeper than {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as failure:
        raise refused(what, f"not JSON: {failure.msg} at line {failure.lineno}, column {failure.colno}") from None
    except ValueError as failure:
        raise refused(what, str(failure)) from None
    check_values(value, what, max_string_chars)
    return value


def parse_toml(data: bytes, what: str, limit_bytes: int) -> dict[str, Any]:
    """The TOML document. InvalidInput says what is wrong with it and where."""
    text = text_of(data, what, limit_bytes)
    try:
        value = tomllib.loads(text)
    except RecursionError:
        raise refused(what, f"nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as failure:
        raise refused(what, f"not TOML: {str(failure)[:200]}") from None
    check_values(value, what)
    return value


def check_values(document: Any, what: str, max_string_chars: int = MAX_STRING_CHARS) -> None:
    """InvalidInput, with the path, for the first value that no document of ours may hold."""
    pending: list[tuple[Any, str, int]] = [(document, "", 1)]
    count = 0
    while pending:
        value, path, depth = pending.pop()
        count += 1
        if count > MAX_VALUES:
            raise refused(what, f"more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise refused(what, f"nested deeper than {MAX_DEPTH} levels at {path[:80]}")
        if cause := _fault(value, max_string_chars):
            raise refused(what, f"{path or 'its value'} {cause}")
        pending.extend((item, below, depth + 1) for item, below in _children(value, path))


def _children(value: Any, path: str) -> Iterator[tuple[Any, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield item, f"{path}.{key[:80]}" if path else key[:80]
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield item, f"{path}[{index}]"


def _fault(value: Any, max_chars: int) -> str:
    if isinstance(value, str):
        return _string_fault(value, max_chars)
    if isinstance(value, dict):
        return next((f"key {key[:40]!a} {cause}" for key in value if (cause := _string_fault(key, max_chars))), "")
    if isinstance(value, (list, bool)) or value is None:
        return ""
    if isinstance(value, int):
        return "" if abs(value) <= MAX_INTEGER else "is an integer beyond 64 bits"
    if isinstance(value, float):
        return "" if math.isfinite(value) else "is not a finite number"
    return f"is a {type(value).__name__}, which is not supported here; write it as a string"


def _string_fault(text: str, max_chars: int) -> str:
    if len(text) > max_chars:
        return f"is longer than {max_chars} characters"
    if "\0" in text:
        return "holds a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half a surrogate pair"
    return ""


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"key {name[:80]!a} appears twice in one object")
        found[name] = value
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a finite number")
