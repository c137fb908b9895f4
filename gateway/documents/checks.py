"""The bridge to pydantic: a strict base model, named string types, and its faults as our `Problem`s with paths.

`check()` is the one place where a document meets its model. A validator may report several faults at once by raising
`faults([...])`. Messages speak to the author of the document and never show more than 80 characters of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from gateway.documents.quantities import seconds, size_bytes
from gateway.errors import InvalidInput, Problem
from gateway.model import names

MAX_PROBLEMS: Final = 50

Path = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


class Model(BaseModel):
    """Unknown keys are refused, nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


def named(kind: re.Pattern[str]) -> AfterValidator:
    """For Annotated[str, ...]: the string must be a name of that kind (model/names.py)."""

    return AfterValidator(lambda text: must_match(kind, text))


def must_match(kind: re.Pattern[str], text: str) -> str:
    """`text`; ValueError when it is not of that kind."""
    if not kind.fullmatch(text):
        raise ValueError(f"{text[:80]!a} must match {kind.pattern}")
    return text


def _tag(text: str) -> str:
    if not names.is_tag(text):
        raise ValueError(f"{text[:80]!a} is not a tag: one to eight levels as in meter/power, no wildcards")
    return text


def _tag_pattern(text: str) -> str:
    if not names.is_tag_pattern(text):
        raise ValueError(f"{text[:80]!a} is not a tag pattern: as in meter/power, meter/+ or meter/#")
    return text


AppName = Annotated[str, named(names.APP)]
AuthorityName = Annotated[str, named(names.AUTHORITY)]
GatewayName = Annotated[str, named(names.GATEWAY)]
PortName = Annotated[str, named(names.PORT)]
StreamName = Annotated[str, named(names.STREAM)]
VolumeName = Annotated[str, named(names.VOLUME)]
Incarnation = Annotated[str, named(re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"))]
Tag = Annotated[str, AfterValidator(_tag)]
TagPattern = Annotated[str, AfterValidator(_tag_pattern)]
Seconds = Annotated[float, BeforeValidator(seconds)]
Bytes = Annotated[int, BeforeValidator(size_bytes)]
Text = Annotated[str, Field(max_length=4096)]
EngineName = Literal["oci", "docker", "lxc", "simulated"]


def faults(found: Sequence[tuple[Path, str]]) -> PydanticCustomError:
    """What a validator raises for several faults: each with its path below the value that is validated."""
    return PydanticCustomError("faults", "several faults", {"found": tuple(found)})


def check(
    model: type[M],
    value: Any,
    what: str,
    *,
    at: Path = (),
    explain: Callable[[Path], str | None] = lambda _path: None,
    also: Iterable[Problem] = (),
) -> M:
    """`value` as `model`. InvalidInput with all faults, the ones in `also` included; paths begin with `at`.

    `explain` may say why a key (given by its path) is not supported.
    """
    found = list(also)
    try:
        checked = model.model_validate(value)
    except ValidationError as failure:
        for error in failure.errors(include_url=False):
            found.extend(_problems(error, at, explain))
        raise reject(what, found) from None
    if found:
        raise reject(what, found)
    return checked


def reject(what: str, problems: Sequence[Problem]) -> InvalidInput:
    """The error for a document that can be read but not accepted."""
    unique = sorted(set(problems), key=lambda p: p.path)
    count = f"{len(unique)} problems" if len(unique) > 1 else "1 problem"
    return InvalidInput(f"cannot accept {what}: {count}", problems=unique[:MAX_PROBLEMS])


def path_text(path: Path) -> str:
    """`services.reader.ports[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part[:80] if part.isprintable() else ascii(part[:80])
            text += f".{shown}" if text else shown
    return text


def _problems(error: ErrorDetails, at: Path, explain: Callable[[Path], str | None]) -> list[Problem]:
    location = tuple(part for part in error["loc"] if part != "[key]")
    context: Mapping[str, Any] = error.get("ctx", {})
    if error["type"] == "faults":
        return [Problem(path_text((*at, *location, *below)), message) for below, message in context["found"]]
    if error["type"] == "extra_forbidden":
        return [Problem(path_text((*at, *location)), explain(location) or "this key is not supported")]
    return [Problem(path_text((*at, *location)), _message(error, context))]


_MESSAGES: Final = {
    "missing": "is missing",
    "string_type": "must be a string: put it in quotes",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "invalid_key": "its keys must be strings",
}


def _message(error: ErrorDetails, context: Mapping[str, Any]) -> str:
    if error["type"] in ("value_error", "assertion_error"):
        return str(context.get("error", error["msg"]))
    if error["type"] in _MESSAGES:
        return _MESSAGES[error["type"]]
    if error["type"] == "literal_error":
        return f"must be {context['expected']}"
    text = error["msg"]
    for beginning in ("Input should ", "String should ", "Value should "):
        text = text.replace(beginning, "must ") if text.startswith(beginning) else text
    return text[:1].lower() + text[1:200]
