"""The agent's own settings: a TOML file whose keys are the fields of `model.config.Config`, every one optional."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, create_model

from gateway.documents.checks import Bytes, Model, check
from gateway.documents.syntax import parse_toml
from gateway.model.config import Config

MAX_CONFIG_BYTES: Final = 64 << 10


def _between(low: int, high: int) -> AfterValidator:
    def holds(value: int) -> int:
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}")
        return value

    return AfterValidator(holds)


_RANGES: Final[dict[str, Any]] = {
    "log_level": Literal["debug", "info", "warning", "error"],
    "outbox_max_bytes": Annotated[Bytes, _between(1 << 20, 1 << 40)],
    "outbox_commit_interval_s": Annotated[float, Field(ge=0.0, le=10.0)],
    "uplink_window": Annotated[int, Field(ge=1, le=64)],
    "uplink_resend_s": Annotated[float, Field(ge=0.5, le=3600.0)],
    "esdk_max_connections": Annotated[int, Field(ge=1, le=1024)],
    "esdk_max_header_bytes": Annotated[Bytes, _between(1 << 10, 1 << 20)],
    "esdk_max_body_bytes": Annotated[Bytes, _between(1 << 10, 16 << 20)],
    "esdk_first_byte_timeout_s": Annotated[float, Field(ge=0.1, le=3600.0)],
    "esdk_max_unread_events": Annotated[int, Field(ge=1, le=65536)],
    "container_log_bytes": Annotated[Bytes, _between(1 << 12, 1 << 30)],
}
"""What each setting may be. The defaults are the dataclass's."""

_FIELDS: Final[dict[str, Any]] = {
    field.name: (_RANGES[field.name], field.default) for field in dataclasses.fields(Config)
}
_Config = create_model("_Config", __base__=Model, **_FIELDS)


def parse_config(text: bytes, name: str = "config") -> Config:
    """The settings. InvalidInput with all faults; `name` is the file's, for messages."""
    return Config(**check(_Config, parse_toml(text, name, MAX_CONFIG_BYTES), name).model_dump())
