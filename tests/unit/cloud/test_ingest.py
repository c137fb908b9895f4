"""Ingest: stored, then confirmed; what cannot be read is dropped and hurts nobody else."""

from __future__ import annotations

import json
import sqlite3
import tempfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.model.batches import Batch, BatchId, decode_confirmation, encode_batch
from gateway.model.reports import AppReport, GatewayStatus, Phase, Progress, ProgressKind, Rollout, ServiceReport
from gateway.model.tags import Sample
from gateway.model.wire import canonical, to_wire
from tests.unit.cloud.site import GATEWAY, Site, opened

BASE = f"fieldgate/v1/{GATEWAY}"
REPORT = AppReport(
    "meter-reader", "cloud", 1, "1.0", "sha256:0", Rollout.DONE, (ServiceReport("reader", Phase.HEALTHY, "image"),)
)


def _message(topic: str, value: object) -> tuple[str, bytes]:
    return f"{BASE}/{topic}", canonical(to_wire(value))


def test_a_confirmation_is_authentic_and_names_what_is_stored(tmp_path: Path) -> None:
    with opened(tmp_path) as site:
        outcome = site.ingest.take([site.batch(1, 3)])
        ((topic, payload),) = outcome.confirmations
        key = bytes.fromhex(json.loads(site.enrolled.enrolment)["confirmation_key"])
        assert topic == f"{BASE}/ack"
        assert decode_confirmation(key, GATEWAY, payload) == BatchId(site.incarnation, "telemetry", "e1", 1, 3)
    with sqlite3.connect(site.state.database) as other:
        assert other.execute("SELECT count(*) FROM samples").fetchone() == (3,)
    other.close()


def _batch(site: Site, **changes: Any) -> bytes:
    identity = {"incarnation": site.incarnation, "stream": "telemetry", "epoch": "e1", "first": 1, "last": 1}
    record = {"kind": "sample", "tag": "a", "value": 1, "time_ns": 1}
    for key, value in changes.items():
        (identity if key in identity else record)[key] = value
    return zlib.compress(json.dumps({"id": identity, "records": [record]}).encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"incarnation": "another"},
        {"stream": "alarms"},
        {"first": 0, "last": 0},
        {"first": 1 << 63, "last": 1 << 63},
        {"last": 2},
        {"first": 2, "last": 1},
        {"epoch": "e" * 65},
        {"epoch": "line\nbreak"},
        {"epoch": "\ud800"},
        {"tag": "no spaces"},
        {"tag": "\ud800"},
        {"value": float("nan")},
        {"value": float("inf")},
        {"value": "\ud800"},
        {"value": None},
        {"value": [1]},
        {"unit": "\ud800"},
        {"unit": 5},
        {"time_ns": -1},
        {"time_ns": 1 << 63},
        {"time_ns": 1.5},
        {"quality": "splendid"},
        {"quality": []},
        {"kind": "window"},
        {"kind": []},
        {"surplus": 1},
    ],
)
def test_a_bad_batch_is_dropped_and_its_neighbours_are_not(tmp_path: Path, changes: dict[str, Any]) -> None:
    with opened(tmp_path) as site:
        topic, good = site.batch(7, 9)
        outcome = site.ingest.take([(topic, _batch(site, **changes)), (topic, good)])
        assert len(outcome.confirmations) == 1
        assert [row["seq"] for row in site.samples.page(GATEWAY, 0, 10)] == [7, 8, 9]
        assert site.ingest.counts["dropped"] == 1
        assert site.ingest.take([(topic, _batch(site))]).confirmations  # without the change it is good


@pytest.mark.parametrize(
    "message",
    [
        (f"{BASE}/data/telemetry", b""),
        (f"{BASE}/data/telemetry", b"x" * (300 << 10)),
        (f"{BASE}/data/telemetry", zlib.compress(b" " * (5 << 20))),
        (f"{BASE}/data/telemetry", zlib.compress(b"[" * 100_000)),
        (f"{BASE}/status", b"[" * 60_000),
        (f"{BASE}/status", b'{"online": true}'),
        (f"{BASE}/status", b'{"online": true, "incarnation": "another"}'),
        (f"{BASE}/status", b"\xff"),
        (f"{BASE}/status", b" " * (65 << 10) + b"{}"),
        (f"{BASE}/progress", b'{"kind": "nothing"}'),
        (f"{BASE}/reported/other", canonical(to_wire(REPORT))),
        (f"{BASE}/desired/cloud", b"{}"),
        (f"{BASE}/data", b"{}"),
        ("fieldgate/v1/stranger/status", b'{"online": true, "incarnation": "x"}'),
        ("something/else", b"{}"),
        ("", b""),
    ],
)
def test_other_bad_messages_are_dropped(tmp_path: Path, message: tuple[str, bytes]) -> None:
    with opened(tmp_path) as site:
        outcome = site.ingest.take([message])
        assert (outcome.confirmations, outcome.events, outcome.revisions) == ([], [], [])
        assert site.ingest.counts["dropped"] == 1


@settings(max_examples=60, deadline=None)
@given(
    messages=st.lists(
        st.tuples(
            st.sampled_from(["data/telemetry", "status", "progress", "reported/a", "ack", "\0", "data/\ud800"]),
            st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(zlib.compress),
                      st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                                   lambda inner: st.lists(inner, max_size=3)
                                   | st.dictionaries(st.sampled_from(["id", "records", "kind", "online"]), inner),
                                   max_leaves=8).map(lambda value: zlib.compress(json.dumps(value).encode()))),
        ),
        max_size=10,
    )
)  # fmt: skip
def test_no_payload_stops_it(messages: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as directory, opened(Path(directory)) as site:
        good = site.batch(1, 2)
        outcome = site.ingest.take([*((f"{BASE}/{topic}", payload) for topic, payload in messages), good])
        assert len(outcome.confirmations) == 1


def test_news_are_kept_and_told(tmp_path: Path) -> None:
    with opened(tmp_path) as site:
        status = GatewayStatus(True, site.incarnation, "0.1", {"cloud": 4, "local": 9})
        progress = Progress(ProgressKind.PULL, "cloud", 4, "meter-reader", "reader", done_bytes=1, total_bytes=2)
        messages = [
            _message("status", status),
            _message("reported/meter-reader", REPORT),
            _message("progress", progress),
        ]
        outcome = site.ingest.take(messages)
        assert [happened["kind"] for happened in outcome.events] == ["status", "reported", "progress"]
        assert outcome.revisions == [(GATEWAY, 4)]
        assert site.store.gateway(GATEWAY).status == status
        assert site.store.reports(GATEWAY) == [REPORT]
        offline = GatewayStatus(False, site.incarnation)
        outcome = site.ingest.take([(f"{BASE}/reported/meter-reader", b""), _message("status", offline)])
        assert [happened["kind"] for happened in outcome.events] == ["removed", "status"]
        assert outcome.revisions == [(GATEWAY, None)]
        assert site.store.reports(GATEWAY) == []
        assert site.ingest.counts["dropped"] == 0


def test_a_full_disk_confirms_nothing_and_keeps_nothing_half(tmp_path: Path) -> None:
    with opened(tmp_path) as site:
        site.ingest.take([site.batch(1, 2)])
        pages = site.database.execute("PRAGMA page_count").fetchone()[0]
        site.database.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            site.ingest.take([site.batch(3, 4), site.batch(5, 1500)])
        assert [row["seq"] for row in site.samples.page(GATEWAY, 0, 10)] == [1, 2]
        assert site.ingest.counts["stored"] == 2
        site.database.execute("PRAGMA max_page_count = 1000000")
        assert len(site.ingest.take([site.batch(3, 4)]).confirmations) == 1


def test_two_gateways_do_not_share_sequences(tmp_path: Path) -> None:
    with opened(tmp_path) as site:
        site.authority.enrol("gw-2", "127.0.0.1", 8883, again=False)
        other = BatchId(site.store.gateway("gw-2").incarnation, "telemetry", "e1", 1, 1)
        payload = encode_batch(Batch(other, (Sample("a", 1, 1),)))
        outcome = site.ingest.take([site.batch(1, 1), ("fieldgate/v1/gw-2/data/telemetry", payload)])
        assert [topic for topic, _ in outcome.confirmations] == [f"{BASE}/ack", "fieldgate/v1/gw-2/ack"]
        assert site.ingest.counts["stored"] == 2
