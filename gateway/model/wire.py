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
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from gateway.errors import InvalidInput, Problem

T = TypeVar("T")

MAX_PATH_CHARS: Final = 200
"""Of a key that an error names."""
MAX_FAULTS: Final = 20
"""That one error lists."""


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
    """An instance of the dataclass `kind` from a JSON value; InvalidInput names the paths of all that does not fit."""
    decoder: Decoder = _decoder(typing.cast("Any", kind))
    try:
        return typing.cast("T", decoder(value))
    except _Misfit as misfit:
        faults = [(_join(path, where), what) for where, what in misfit.faults]
    if len(faults) == 1:
        raise InvalidInput(f"cannot read {faults[0][0] or 'the document'}: {faults[0][1]}")
    problems = [Problem(where, what) for where, what in faults[:MAX_FAULTS]]
    raise InvalidInput(f"cannot read {path or 'the document'}: {len(faults)} problems", problems=problems)


class _Misfit(Exception):
    """(path, what) of everything that does not fit; every level on the way up puts its name before the paths."""

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        self.faults = faults

    def below(self, name: str) -> list[tuple[str, str]]:
        return [(_join(name, path), what) for path, what in self.faults]


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
        faults: list[tuple[str, str]] = []
        for index, entry in enumerate(value):
            try:
                items.append(item(entry))
            except _Misfit as misfit:
                faults += misfit.below(f"[{index}]")
        if faults:
            raise _Misfit(faults)
        return tuple(items)

    return decode


def _dict_decoder(item: Decoder) -> Decoder:
    def decode(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _mismatch("an object", value)
        items: dict[str, Any] = {}
        faults: list[tuple[str, str]] = []
        for key, entry in value.items():
            try:
                items[key] = item(entry)
            except _Misfit as misfit:
                faults += misfit.below(_shown(key))
        if faults:
            raise _Misfit(faults)
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
        faults: list[tuple[str, str]] = []
        for name, entry in value.items():
            decoder = decoders.get(name)
            if decoder is None:
                faults.append((_shown(name), f"unknown key of {kind.__name__}"))
                continue
            try:
                fields[name] = decoder(entry)
            except _Misfit as misfit:
                faults += misfit.below(name)
        for name in required:
            if name not in value:
                faults.append((name, f"missing key of {kind.__name__}"))
        if faults:
            raise _Misfit(faults)
        return kind(**fields)

    return decode


def _shown(key: str) -> str:
    """A key that came from outside, as an error names it: it need be neither short nor text."""
    return key[:MAX_PATH_CHARS].encode(errors="backslashreplace").decode()


def _join(path: str, below: str) -> str:
    if not path or not below:
        return path or below
    return path + below if below.startswith("[") else f"{path}.{below}"


def _mismatch(wanted: str, value: Any) -> _Misfit:
    return _Misfit([("", f"expected {wanted}, got {json.dumps(value)[:80]}")])
