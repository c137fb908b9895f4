"""Whatever an APP sends as samples: refused by path, or taken by every room behind it, up to the outbox's file."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidInput
from gateway.esdk_server.bodies import Publish, decode, published
from gateway.model.batches import Batch, BatchId, decode_batch, encode_batch
from gateway.model.tags import Sample
from gateway.model.wire import canonical, to_wire
from gateway.outbox.chunks import check_record
from gateway.pipeline.windows import Windows

OWNER = "meter.reader"
ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=40) | st.sampled_from(
    ["\ud800", "W", "x" * 1025]
)
ANY_VALUE = ANY_TEXT | st.booleans() | st.integers() | st.floats() | st.none() | st.lists(st.integers(), max_size=2)
SAMPLES = st.fixed_dictionaries(
    {"tag": st.sampled_from(["meter/power", "meter/name"]) | ANY_TEXT, "value": ANY_VALUE},
    optional={
        "unit": ANY_TEXT | st.integers(),
        "quality": st.sampled_from(["good", "bad", "best"]),
        "time_ns": st.integers(-1, 2**64),
    },
)
BODIES = st.dictionaries(ANY_TEXT, ANY_VALUE, max_size=2) | st.fixed_dictionaries(
    {"samples": st.lists(SAMPLES, max_size=3)}, optional={"durable": st.booleans() | st.none()}
)


@given(BODIES)
def test_a_body_is_refused_by_path_or_everything_behind_takes_it(body: dict[str, Any]) -> None:
    try:
        samples = published(decode(Publish, json.dumps(body).encode()), OWNER)
    except InvalidInput as refused:
        answer = canonical(refused.to_json())
    else:
        answer = canonical([to_wire(sample) for sample in samples])  # as of `GET /v1/tags`
        _pass_on(samples)
    assert len(answer) < 20_000


def _pass_on(samples: list[Sample]) -> None:
    windows = Windows(10**9, 0)
    for sample in samples:
        windows.add(sample, 0)
    records = (*samples, *windows.close_all())
    for record in records:
        check_record(record)
    batch = Batch(BatchId("1a", "telemetry", "e", 1, len(records)), records)
    assert decode_batch(encode_batch(batch)) == batch
