"""docs/asyncapi.yaml says the same as the code: topics, retained or not, direction, members of every payload."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.model import audit, batches, causes, operations, reports, tags
from gateway.model.topics import DOWN, RETAINED, ROOT, UP, Channel

DOCUMENT: dict[str, Any] = yaml.safe_load((Path(__file__).parents[3] / "docs" / "asyncapi.yaml").read_text())
DETAIL = {
    Channel.DESIRED: "/{authority}", Channel.REPORTED: "/{app}", Channel.DATA: "/{stream}",
    Channel.REQUEST: "/{op}", Channel.RESPONSE: "/{op}",
}  # fmt: skip


def test_the_channels_are_the_topics() -> None:
    found = {name: channel["address"] for name, channel in DOCUMENT["channels"].items()}
    assert found == {str(c): f"{ROOT}/{{gateway}}/{c}{DETAIL.get(c, '')}" for c in Channel}
    for channel in DOCUMENT["channels"].values():
        assert {f"{{{name}}}" for name in channel["parameters"]} == {
            level for level in channel["address"].split("/") if level.startswith("{")
        }


def test_direction_and_retained_are_the_codes() -> None:
    actions, retained = {}, set()
    for operation in DOCUMENT["operations"].values():
        channel = Channel(operation["channel"]["$ref"].rpartition("/")[2])
        actions[channel] = operation["action"]
        assert operation["bindings"]["mqtt"]["qos"] == 1
        if operation["bindings"]["mqtt"]["retain"]:
            retained.add(channel)
    assert actions == {**dict.fromkeys(DOWN, "receive"), **dict.fromkeys(UP, "send")}
    assert retained == RETAINED


def payload(name: str) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["components"]["messages"][name]["payload"]
    return found


SCHEMAS = DOCUMENT["components"]["schemas"]


@pytest.mark.parametrize(
    ("schema", "kind", "extra"),
    [
        (payload("status"), reports.GatewayStatus, set()),
        (payload("report"), reports.AppReport, set()),
        (payload("progress"), reports.Progress, set()),
        (payload("batch"), batches.Batch, set()),
        (payload("answer"), operations.Answer, {"mac"}),
        (SCHEMAS["challenge"], operations.Challenge, set()),
        (SCHEMAS["operation"], operations.Operation, set()),
        (SCHEMAS["record"], audit.AuditEntry, set()),
        (SCHEMAS["explanation"], causes.Explanation, set()),
        (SCHEMAS["cause"], causes.Cause, set()),
        (SCHEMAS["service"], reports.ServiceReport, set()),
        (SCHEMAS["batchId"], batches.BatchId, set()),
        (SCHEMAS["window"], tags.Window, {"kind"}),
        (SCHEMAS["sample"], tags.Sample, {"kind"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_members_are_the_fields(schema: dict[str, Any], kind: Any, extra: set[str]) -> None:
    fields = dataclasses.fields(kind)
    assert set(schema["properties"]) == {field.name for field in fields} | extra
    needed = {f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING}
    assert set(schema["required"]) == needed | extra


def test_the_words_are_the_enums() -> None:
    assert payload("report")["properties"]["rollout"]["enum"] == list(reports.Rollout)
    assert payload("progress")["properties"]["kind"]["enum"] == list(reports.ProgressKind)
    assert SCHEMAS["operation"]["properties"]["op"]["enum"] == list(operations.Op)
    assert SCHEMAS["cause"]["properties"]["kind"]["enum"] == list(causes.CauseKind)
    assert SCHEMAS["service"]["properties"]["phase"]["enum"] == list(reports.Phase)
    assert SCHEMAS["sample"]["properties"]["quality"]["enum"] == list(tags.Quality)
