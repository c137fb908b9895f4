"""Dataclasses to JSON and back: the one codec for state files, verdicts, reports and admin answers.

A field is left out of the JSON when it holds its default; a key that is not a field is refused by path. Supported field
types: str, int, float, bool, None unions, enums, nested dataclasses, `tuple[X, ...]`, `dict[str, X]`, Any.
This is for bytes that we wrote or verified ourselves; documents from outside go through `gateway/documents/`.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from gateway.errors import InvalidInput

T = TypeVar("T")


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces, UTF-8: equal values give equal bytes, so it can be hashed and compared."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def to_wire(value: Any) -> Any:
    """The JSON value (dict, list, str, number, bool, None) of a dataclass or of a container of them."""
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_wire(item)
            for field in dataclasses.fields(value)
            if (item := getattr(value, field.name)) != _default(field)
        }
    if isinstance(value, Mapping):
        return {str(key): to_wire(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_wire(item) for item in value]
    return value


def from_wire(kind: type[T], value: Any, path: str = "") -> T:
    """An instance of the dataclass `kind` from a JSON value; InvalidInput names the path of what does not fit."""
    return typing.cast("T", _decode(kind, value, path))


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _decode(kind: Any, value: Any, path: str) -> Any:
    if kind is Any:
        return value
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _decode_union(kind, value, path)
    if origin is tuple:
        return _decode_tuple(kind, value, path)
    if origin is dict:
        if not isinstance(value, dict):
            raise _mismatch(path, "an object", value)
        item_kind = typing.get_args(kind)[1]
        return {key: _decode(item_kind, item, f"{path}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, path)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(value)
        except ValueError:
            raise _mismatch(path, f"one of {', '.join(str(m.value) for m in kind)}", value) from None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(kind, type) or not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _mismatch(path, getattr(kind, "__name__", str(kind)), value)
    return value


def _decode_union(kind: Any, value: Any, path: str) -> Any:
    members = typing.get_args(kind)
    if value is None and types.NoneType in members:
        return None
    failures = []
    for member in members:
        if member is types.NoneType:
            continue
        try:
            return _decode(member, value, path)
        except InvalidInput as failure:
            failures.append(failure)
    raise failures[0]


def _decode_tuple(kind: Any, value: Any, path: str) -> Any:
    if not isinstance(value, list):
        raise _mismatch(path, "an array", value)
    item_kind = typing.get_args(kind)[0]
    return tuple(_decode(item_kind, item, f"{path}[{index}]") for index, item in enumerate(value))


def _decode_dataclass(kind: Any, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise _mismatch(path, "an object", value)
    hints = _hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := sorted(set(value) - set(fields)):
        raise InvalidInput(f"cannot read {kind.__name__}: unknown key {_join(path, unknown[0])}")
    missing = [n for n, f in fields.items() if n not in value and _default(f) is dataclasses.MISSING]
    if missing:
        raise InvalidInput(f"cannot read {kind.__name__}: missing key {_join(path, missing[0])}")
    return kind(**{name: _decode(hints[name], item, _join(path, name)) for name, item in value.items()})


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _mismatch(path: str, wanted: str, value: Any) -> InvalidInput:
    return InvalidInput(f"cannot read {path or 'the document'}: expected {wanted}, got {json.dumps(value)[:80]}")
