"""The agent's settings."""

from __future__ import annotations

import dataclasses

import pytest

from gateway.documents.config import parse_config
from gateway.errors import InvalidInput
from gateway.model.config import Config


def test_nothing_set_is_all_defaults() -> None:
    assert parse_config(b"") == Config()


def test_every_field_can_be_set_to_its_default() -> None:
    lines = [f"{field.name} = {field.default!r}".replace("'", '"') for field in dataclasses.fields(Config)]
    assert parse_config("\n".join(lines).encode()) == Config()


def test_sizes_and_whole_seconds() -> None:
    config = parse_config(b"outbox_max_bytes = '8M'\nuplink_resend_s = 5\nlog_level = 'debug'")
    assert (config.outbox_max_bytes, config.uplink_resend_s, config.log_level) == (8 << 20, 5.0, "debug")


def test_all_faults_at_once() -> None:
    text = b"log_level = 'loud'\noutbox_max_bytes = 1\nuplink_window = 0\nuplink_resend_s = '5s'\nfoo = 1"
    with pytest.raises(InvalidInput, match=r"cannot accept c\.toml: 5 problems") as caught:
        parse_config(text, "c.toml")
    assert [problem.path for problem in caught.value.problems] == [
        "foo", "log_level", "outbox_max_bytes", "uplink_resend_s", "uplink_window",
    ]  # fmt: skip
