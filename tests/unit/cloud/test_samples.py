"""Each sequence number is kept exactly once, however batches overlap, repeat and come out of order."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.samples import rows_of
from gateway.model.batches import Batch, BatchId
from gateway.model.tags import Quality, Sample, Window
from tests.unit.cloud.site import GATEWAY, Site, opened

BATCHES = st.lists(
    st.tuples(st.sampled_from(["e1", "e2"]), st.sampled_from(["telemetry", "alarms"]), st.integers(1, 30),
              st.integers(0, 12)),
    max_size=25,
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(batches=BATCHES, groups=st.integers(1, 5))
def test_exactly_once(batches: list[tuple[str, str, int, int]], groups: int) -> None:
    with tempfile.TemporaryDirectory() as directory, opened(Path(directory)) as site:
        sent: dict[tuple[str, str], set[int]] = {}
        messages = []
        for epoch, stream, first, more in batches:
            messages.append(site.batch(first, first + more, stream, epoch))
            sent.setdefault((epoch, stream), set()).update(range(first, first + more + 1))
        for start in range(0, len(messages), groups):
            outcome = site.ingest.take(messages[start : start + groups])
            assert len(outcome.confirmations) == len(messages[start : start + groups])
        records = site.samples.page(GATEWAY, 0, 10_000)
        held = [(row["epoch"], row["stream"], row["seq"]) for row in records]
        assert sorted(held) == sorted((e, s, seq) for (e, s), seqs in sent.items() for seq in seqs)
        assert all(row["record"]["value"] == float(row["seq"]) for row in records)
        assert all(row["record"]["source"] == row["epoch"] for row in records)
        assert site.ingest.counts["stored"] == len(held)
        total = sum(more + 1 for _, _, _, more in batches)
        assert site.ingest.counts["duplicates"] == total - len(held)
        for stream in site.samples.streams(GATEWAY):
            seqs = sent[(stream["epoch"], stream["stream"])]
            assert (stream["records"], stream["first"], stream["last"]) == (len(seqs), min(seqs), max(seqs))
            assert stream["missing"] == max(seqs) - min(seqs) + 1 - len(seqs)


def _store(site: Site, first: int, *records: Sample | Window) -> None:
    batch = Batch(BatchId(site.incarnation, "telemetry", "e1", first, first + len(records) - 1), records)
    with site.database.transaction():
        site.samples.store(GATEWAY, batch.id, rows_of(batch))


def test_the_latest_value_is_the_newest_by_its_own_time(tmp_path: Path) -> None:
    with opened(tmp_path) as site:
        _store(site, 1, Sample("a", 1, 30), Sample("a", 2, 10), Sample("b", True, 5, "on", Quality.BAD))
        _store(site, 4, Window("a", 10, 20, 7.5, 7.0, 8.0, 8.0, 2, "V"))  # late: it was offline
        found = {tag["tag"]: (tag["value"], tag["unit"], tag["quality"], tag["time_ns"])
                 for tag in site.samples.latest(GATEWAY)}  # fmt: skip
        assert found == {"a": (1, "", "good", 30), "b": (True, "on", "bad", 5)}
        _store(site, 5, Window("a", 30, 40, 7.5, 7.0, 8.0, 8.0, 2, "V"))
        assert site.samples.latest(GATEWAY)[0]["value"] == 7.5


def test_pages_follow_arrival_and_filter_by_tag(tmp_path: Path) -> None:
    with opened(tmp_path) as site:
        _store(site, 5, Sample("a", 1, 1), Sample("b", 2, 2), Sample("a", 3, 3))
        _store(site, 1, Sample("a", 4, 4))
        first = site.samples.page(GATEWAY, 0, 2)
        rest = site.samples.page(GATEWAY, first[-1]["n"], 10)
        assert [row["seq"] for row in first + rest] == [5, 6, 7, 1]
        assert [row["seq"] for row in site.samples.page(GATEWAY, 0, 10, "a")] == [5, 7, 1]
