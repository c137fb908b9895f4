"""YAML to plain values, within limits: the YAML that Compose files are written in, and nothing that surprises.

Plain scalars follow YAML 1.2 as `docker compose` reads them: `no` and `22:22` are strings, not False and 1342. Aliases
and the merge key `<<` work; what they unfold to is counted, so that nine lines cannot become a billion values. Keys
must be strings and appear once. Built on the event stream, without recursion: depth costs an error, not the process.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from gateway.documents.syntax import MAX_DEPTH, MAX_VALUES, check_values, refused, text_of

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STRING_TAG: Final = "tag:yaml.org,2002:str"
_CONSTANTS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})")
_OTHER_BASE: Final = re.compile(r"0(x[0-9a-fA-F]{1,16}|o[0-7]{1,21})")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]{1,30}|(0|[1-9][0-9]{0,30})(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,3})?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MISSING: Final = object()
_MERGE: Final = object()


def parse_yaml(data: bytes, what: str, limit_bytes: int) -> Any:
    """The value of the one YAML document in `data`. InvalidInput says what is wrong and in which line."""
    text = text_of(data, what, limit_bytes)
    builder = _Builder(what)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.feed(event)
    except yaml.YAMLError as failure:
        raise refused(what, f"not YAML: {_describe(failure)}") from None
    check_values(builder.value, what)
    return builder.value


def _describe(failure: yaml.YAMLError) -> str:
    mark = getattr(failure, "problem_mark", None)
    problem = getattr(failure, "problem", None) or str(failure)
    return f"{problem}{f' at line {mark.line + 1}, column {mark.column + 1}' if mark else ''}"[:300]


@dataclass(slots=True)
class _Frame:
    """An open sequence or mapping."""

    container: Any
    anchor: str | None
    count_before: int
    key: Any = _MISSING
    merges: list[Any] = field(default_factory=list)


class _Builder:
    """Takes events one by one; `value` is the document once all are fed."""

    def __init__(self, what: str) -> None:
        self.value: Any = None
        self._what = what
        self._open: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._count = 0
        self._documents = 0

    def feed(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._refused("there is more than one document in it", event)
        elif isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event), event, event.anchor)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            self._begin(event)
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            self._end(event)

    def _begin(self, event: yaml.CollectionStartEvent) -> None:
        if event.tag is not None and not event.implicit:
            raise self._refused(f"tag {event.tag[:80]} is not supported", event)
        if len(self._open) >= MAX_DEPTH:
            raise self._refused(f"nested deeper than {MAX_DEPTH} levels", event)
        container: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._open.append(_Frame(container, event.anchor, self._count))

    def _end(self, event: yaml.Event) -> None:
        frame = self._open.pop()
        for merged in frame.merges:
            for key, item in merged.items():
                frame.container.setdefault(key, item)
        count = self._count - frame.count_before
        self._add(frame.container, event, None)
        if frame.anchor is not None:
            self._anchors[frame.anchor] = (frame.container, count + 1)

    def _alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self._anchors:
            raise self._refused(f"alias *{str(event.anchor)[:80]} stands before or inside what it names", event)
        value, count = self._anchors[event.anchor]
        self._count += count - 1
        self._add(value, event, None)

    def _add(self, value: Any, event: yaml.Event, anchor: str | None) -> None:
        self._count += 1
        if self._count > MAX_VALUES:
            raise self._refused(f"more than {MAX_VALUES} values", event)
        if anchor is not None:
            self._anchors[anchor] = (value, 1)
        if not self._open:
            self.value = value
            return
        frame = self._open[-1]
        if isinstance(frame.container, list):
            frame.container.append("<<" if value is _MERGE else value)
        elif frame.key is _MISSING:
            frame.key = self._key(value, frame, event)
        else:
            self._set(frame, value, event)

    def _key(self, value: Any, frame: _Frame, event: yaml.Event) -> Any:
        if value is _MERGE:
            return _MERGE
        if not isinstance(value, str):
            raise self._refused(f"key {str(value)[:80]} is not a string: put it in quotes", event)
        if value in frame.container:
            raise self._refused(f"key {value[:80]!a} appears twice in one mapping", event)
        return value

    def _set(self, frame: _Frame, value: Any, event: yaml.Event) -> None:
        key, frame.key = frame.key, _MISSING
        if key is not _MERGE:
            frame.container[key] = "<<" if value is _MERGE else value
            return
        merged = value if isinstance(value, list) else [value]
        if not all(isinstance(entry, dict) for entry in merged):
            raise self._refused("<< takes a mapping or a list of mappings", event)
        frame.merges.extend(merged)

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        if event.tag is not None and event.tag not in (_STRING_TAG, "!"):
            raise self._refused(f"tag {event.tag[:80]} is not supported", event)
        text: str = event.value
        if event.tag is not None or not event.implicit[0]:
            return text
        return self._plain(text, event)

    def _plain(self, text: str, event: yaml.Event) -> Any:
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if text == "<<":
            return _MERGE
        if _INTEGER.fullmatch(text):
            return int(text)
        if _OTHER_BASE.fullmatch(text):
            return int(text, 0)
        if _FLOAT.fullmatch(text):
            return float(text)
        if _NOT_FINITE.fullmatch(text):
            raise self._refused(f"{text} is not a finite number", event)
        return text

    def _refused(self, cause: str, event: yaml.Event) -> Exception:
        return refused(self._what, f"line {mark.line + 1 if (mark := event.start_mark) else 0}: {cause}")
