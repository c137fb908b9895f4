"""`x-esdk` of a service: what it may touch on the gateway, its rules, its settings (docs/app-manifest.md)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from gateway.documents import manifest_forms as forms
from gateway.documents.checks import (
    EngineName,
    Model,
    Path,
    PortName,
    Seconds,
    StreamName,
    Tag,
    TagPattern,
    Text,
    faults,
    named,
)
from gateway.documents.manifest_hosted import Guests, HostName
from gateway.documents.manifest_network import EsdkNetwork
from gateway.model import app, names

RuleName = Annotated[str, named(re.compile(r"[a-z0-9][a-z0-9_-]{0,62}"))]
Amount = Annotated[float, Field(ge=0)]


class Tags(Model):
    publish: Annotated[list[TagPattern], Field(max_length=64)] = []
    read: Annotated[list[TagPattern], Field(max_length=64)] = []


class Deadband(Model):
    absolute: Amount = 0.0
    percent: Amount = 0.0
    max_silence: Seconds = 60.0

    def build(self) -> app.Deadband:
        return app.Deadband(float(self.absolute), float(self.percent), self.max_silence)


def _window(seconds: float) -> float:
    if not 0.1 <= seconds <= 3600:
        raise ValueError("must be between 100ms and 1h")
    return seconds


class Uplink(Model):
    stream: Annotated[StreamName, Field(alias="class")] = "telemetry"
    window: Annotated[Seconds, AfterValidator(_window)] = 1.0
    deadband: Annotated[dict[TagPattern, Deadband], Field(max_length=64)] = {}

    def build(self) -> app.Uplink:
        return app.Uplink(self.stream, self.window, {name: band.build() for name, band in self.deadband.items()})


class When(Model):
    tag: Tag
    above: float | None = None
    below: float | None = None
    hysteresis: Amount = 0.0

    @model_validator(mode="after")
    def _one_limit(self) -> When:
        if (self.above is None) == (self.below is None):
            raise ValueError("must have exactly one of above and below")
        return self


class Rule(Model):
    name: RuleName
    when: When
    set: Annotated[dict[PortName, Literal[0, 1]], Field(min_length=1, max_length=1)]

    def build(self) -> app.Rule:
        ((line, value),) = self.set.items()
        above, below = (None if limit is None else float(limit) for limit in (self.when.above, self.when.below))
        return app.Rule(self.name, self.when.tag, line, value, above, below, float(self.when.hysteresis))


class Esdk(Model):
    """Fields are in an order in which `rules`, checked last, can look at what is granted."""

    serial: Annotated[dict[PortName, Literal["transact"]], Field(max_length=16)] = {}
    gpio: Annotated[dict[PortName, Literal["read", "write"]], Field(max_length=64)] = {}
    tags: Tags = Tags()
    system: Annotated[list[Literal["info", "time"]], Field(max_length=2)] = []
    uplink: Uplink | None = None
    standby: bool = False
    engine: EngineName | None = None
    network: EsdkNetwork = EsdkNetwork()
    host: HostName | None = None
    guests: Guests = []
    settings: Annotated[dict[Text, Text], BeforeValidator(forms.text_mapping), Field(max_length=128)] = {}
    rules: Annotated[list[Rule], Field(max_length=64)] = []

    @model_validator(mode="before")
    @classmethod
    def _not_null(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("rules")
    @classmethod
    def _granted(cls, rules: list[Rule], info: ValidationInfo) -> list[Rule]:
        """A rule acts with its service's grant and nothing more."""
        found: list[tuple[Path, str]] = []
        seen: set[str] = set()
        for index, rule in enumerate(rules):
            if rule.name in seen:
                found.append(((index, "name"), f"there is another rule {rule.name!a}"))
            seen.add(rule.name)
            found.extend(((index, *path), message) for path, message in _not_granted(rule, info.data))
        if found:
            raise faults(found)
        return rules

    def build(self) -> app.Grant:
        return app.Grant(
            serial=tuple(self.serial),
            gpio={line: str(mode) for line, mode in self.gpio.items()},
            publish=tuple(self.tags.publish),
            read=tuple(self.tags.read),
            system=tuple(dict.fromkeys(self.system)),
            uplink=self.uplink.build() if self.uplink else None,
            rules=tuple(rule.build() for rule in self.rules),
        )


def _not_granted(rule: Rule, granted: dict[str, Any]) -> list[tuple[Path, str]]:
    """`granted` holds the fields that were checked without fault; what is faulty itself is not used against a rule."""
    found: list[tuple[Path, str]] = []
    lines, tags = granted.get("gpio"), granted.get("tags")
    for line in rule.set:
        if lines is not None and lines.get(line) != "write":
            found.append((("set", line), f"the service may not write {line}: x-esdk.gpio.{line}: write would allow it"))
    if tags is not None and not any(names.tag_matches(p, rule.when.tag) for p in (*tags.publish, *tags.read)):
        found.append((("when", "tag"), f"the service may not read {rule.when.tag}: x-esdk.tags.read would allow it"))
    return found
