"""The parts of a service in a manifest: limits, health check, mounts, dependencies. Defaults are Compose's own."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from gateway.documents import manifest_forms as forms
from gateway.documents.checks import Bytes, Model, Seconds, Text, must_match
from gateway.model import app, names

_SHELL: Final = "/bin/sh"
MIN_MEMORY_BYTES: Final = 4 << 20
MIN_ROOT_BYTES: Final = 1 << 20

Target = Annotated[str, AfterValidator(forms.target_path)]


class Limits(Model):
    cpus: float | None = None
    memory: Bytes | None = None
    pids: Annotated[int, Field(ge=1, le=65536)] | None = None

    @field_validator("cpus", mode="before")
    @classmethod
    def _number(cls, value: Any) -> float:
        if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", str(value)) or not float(value):
            raise ValueError('must be a number of CPUs such as "0.50"')
        return float(value)

    @field_validator("memory")
    @classmethod
    def _enough(cls, value: int | None) -> int | None:
        if value is not None and value < MIN_MEMORY_BYTES:
            raise ValueError("must be at least 4M: nothing starts with less")
        return value

    def build(self, root_bytes: int | None) -> app.Limits:
        return app.Limits(self.cpus, self.memory, self.pids, root_bytes)


class StorageOptions(Model):
    size: Bytes | None = None

    @field_validator("size")
    @classmethod
    def _enough(cls, value: int | None) -> int | None:
        if value is not None and value < MIN_ROOT_BYTES:
            raise ValueError("must be at least 1M: an engine makes its mount points there")
        return value


class Resources(Model):
    limits: Limits = Limits()


class Deploy(Model):
    resources: Resources = Resources()


class HealthCheck(Model):
    test: Annotated[list[Text], BeforeValidator(forms.health_test), Field(max_length=64)] = []
    interval: Seconds = 30.0
    timeout: Seconds = 30.0
    retries: Annotated[int, Field(ge=1, le=100)] = 3
    start_period: Seconds = 0.0
    disable: bool = False

    @field_validator("test")
    @classmethod
    def _form(cls, test: list[str]) -> list[str]:
        if test[:1] not in (["CMD"], ["CMD-SHELL"], ["NONE"]):
            raise ValueError('must begin with "CMD", "CMD-SHELL" or "NONE"')
        wanted = {"CMD": len(test) >= 2, "CMD-SHELL": len(test) == 2, "NONE": len(test) == 1}
        if not wanted[test[0]]:
            raise ValueError('must be ["CMD", PROGRAM, ...], ["CMD-SHELL", COMMAND] or ["NONE"]')
        return test

    @field_validator("interval", "timeout")
    @classmethod
    def _not_zero(cls, seconds: float) -> float:
        if seconds < 0.1:
            raise ValueError("must be at least 100ms")
        return seconds

    @model_validator(mode="after")
    def _says_something(self) -> HealthCheck:
        if not self.test and not self.disable:
            raise ValueError("must have a test, or disable: true")
        return self

    def build(self) -> app.HealthCheck | None:
        if self.disable or self.test == ["NONE"]:
            return None
        argv = (_SHELL, "-c", self.test[1]) if self.test[0] == "CMD-SHELL" else tuple(self.test[1:])
        return app.HealthCheck(argv, self.interval, self.timeout, self.retries, self.start_period)


class TmpfsOptions(Model):
    size: Bytes = 16 << 20


class Volume(Model):
    type: Literal["volume", "bind", "tmpfs"]
    source: Text | None = None
    target: Target
    read_only: bool = False
    tmpfs: TmpfsOptions | None = None

    @field_validator("source")
    @classmethod
    def _of_its_type(cls, source: str | None, info: ValidationInfo) -> str | None:
        kind = info.data.get("type")
        if kind == "bind" and source is not None:
            return forms.absolute_path(source)
        if kind == "volume" and source is not None:
            return must_match(names.VOLUME, source)
        return source

    @model_validator(mode="after")
    def _fits(self) -> Volume:
        if (self.source is None) != (self.type == "tmpfs"):
            raise ValueError("a tmpfs has no source, everything else must have one")
        if self.tmpfs is not None and self.type != "tmpfs":
            raise ValueError("tmpfs options need type: tmpfs")
        if self.type == "tmpfs" and self.read_only:
            raise ValueError("a tmpfs that is read_only holds nothing")
        return self


class Tmpfs(Model):
    target: Target
    size: Annotated[int, Field(ge=4096)] = 16 << 20


class Dependency(Model):
    condition: Literal["service_started", "service_healthy"]
    required: Literal[True] = True
    restart: Literal[False] = False
