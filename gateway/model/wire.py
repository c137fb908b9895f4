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
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from gateway.errors import InvalidInput

T = TypeVar("T")

MAX_PATH_CHARS: Final = 200
"""Of a key that an error names."""


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces, UTF-8: equal values give equal bytes, so it can be hashed and compared."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def is_text(text: str) -> bool:
    """False for lone surrogates, which the escapes of JSON can smuggle in and UTF-8 cannot carry."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


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
    decoder: Decoder = _decoder(typing.cast("Any", kind))
    try:
        return typing.cast("T", decoder(value))
    except _Misfit as misfit:
        raise InvalidInput(misfit.text(_join(path, misfit.path))) from None


class _Misfit(Exception):
    """Something does not fit; every level on the way up puts its name before the path."""

    def __init__(self, text: Callable[[str], str], path: str = "") -> None:
        self.text = text
        self.path = path


Decoder = Callable[[Any], Any]


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


@functools.cache
def _decoder(kind: Any) -> Decoder:
    """What turns a JSON value into a `kind`; worked out once per type, since every call of an APP passes through it."""
    origin = typing.get_origin(kind)
    if kind is Any:
        return lambda value: value
    if origin in (typing.Union, types.UnionType):
        return _union_decoder(typing.get_args(kind))
    if origin is tuple:
        return _tuple_decoder(_decoder(typing.get_args(kind)[0]))
    if origin is dict:
        return _dict_decoder(_decoder(typing.get_args(kind)[1]))
    if dataclasses.is_dataclass(kind):
        return _dataclass_decoder(kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _enum_decoder(kind)
    return _scalar_decoder(kind)


def _scalar_decoder(kind: Any) -> Decoder:
    def decode(value: Any) -> Any:
        given = type(value)
        if given is kind:
            if given is str and not is_text(value):
                raise _mismatch("Unicode text", value)
            return value
        if kind is float and given is int:
            return float(value)
        raise _mismatch(kind.__name__, value)

    return decode


def _enum_decoder(kind: type[enum.Enum]) -> Decoder:
    def decode(value: Any) -> Any:
        try:
            return kind(value)
        except ValueError:
            raise _mismatch(f"one of {', '.join(str(member.value) for member in kind)}", value) from None

    return decode


def _union_decoder(members: tuple[Any, ...]) -> Decoder:
    decoders = [_decoder(member) for member in members if member is not types.NoneType]
    exact = {member: member for member in members if member in (float, int, bool, str)}

    def decode(value: Any) -> Any:
        if type(value) in exact or (value is None and types.NoneType in members):
            if type(value) is str and not is_text(value):
                raise _mismatch("Unicode text", value)
            return value
        failure = None
        for decoder in decoders:
            try:
                return decoder(value)
            except _Misfit as misfit:
                failure = failure or misfit
        assert failure is not None
        raise failure

    return decode


def _tuple_decoder(item: Decoder) -> Decoder:
    def decode(value: Any) -> Any:
        if not isinstance(value, list):
            raise _mismatch("an array", value)
        items: list[Any] = []
        try:
            for entry in value:
                items.append(item(entry))
        except _Misfit as misfit:
            raise _Misfit(misfit.text, _join(f"[{len(items)}]", misfit.path)) from None
        return tuple(items)

    return decode


def _dict_decoder(item: Decoder) -> Decoder:
    def decode(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _mismatch("an object", value)
        items: dict[str, Any] = {}
        for key, entry in value.items():
            try:
                items[key] = item(entry)
            except _Misfit as misfit:
                raise _Misfit(misfit.text, _join(key, misfit.path)) from None
        return items

    return decode


def _dataclass_decoder(kind: Any) -> Decoder:
    hints = typing.get_type_hints(kind)
    decoders = {field.name: _decoder(hints[field.name]) for field in dataclasses.fields(kind)}
    required = [field.name for field in dataclasses.fields(kind) if _default(field) is dataclasses.MISSING]

    def decode(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _mismatch("an object", value)
        fields: dict[str, Any] = {}
        for name, entry in value.items():
            decoder = decoders.get(name)
            if decoder is None:
                raise _Misfit(lambda path: f"cannot read {kind.__name__}: unknown key {path}", name)
            try:
                fields[name] = decoder(entry)
            except _Misfit as misfit:
                raise _Misfit(misfit.text, _join(name, misfit.path)) from None
        for name in required:
            if name not in fields:
                raise _Misfit(lambda path: f"cannot read {kind.__name__}: missing key {path}", name)
        return kind(**fields)

    return decode


def _join(path: str, below: str) -> str:
    """The key `below` comes from outside: shown, never trusted to be short or to be text."""
    below = below[:MAX_PATH_CHARS].encode(errors="backslashreplace").decode()
    if not path or not below:
        return path or below
    return path + below if below.startswith("[") else f"{path}.{below}"


def _mismatch(wanted: str, value: Any) -> _Misfit:
    return _Misfit(
        lambda path: f"cannot read {path or 'the document'}: expected {wanted}, got {json.dumps(value)[:80]}"
    )
