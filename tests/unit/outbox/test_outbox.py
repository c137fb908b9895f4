"""The outbox through its public face: commit, numbers, keys, confirmations, restarts, quota, damage."""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import Conflict, InvalidInput, NotSupported, Unavailable
from gateway.model.batches import BatchId, Record
from gateway.model.tags import Sample, Window
from gateway.outbox import database, ledger, outbox
from gateway.outbox.outbox import Outbox

QUOTA = 4 << 20


def samples(count: int, start: int = 0, text: str = "") -> list[Record]:
    return [
        Sample("meter/power", text + str(i) if text else float(i), i, source="a.b") for i in range(start, start + count)
    ]


@asynccontextmanager
async def opened(path: Path, incarnation: str = "inc-1", max_bytes: int = QUOTA) -> AsyncIterator[Outbox]:
    box = Outbox(path / "outbox.sqlite", incarnation, max_bytes, 0.01)
    await box.open()
    try:
        yield box
        check_balance(box)
    finally:
        await box.close()


def noise(seed: int) -> list[Record]:
    """40 KB that do not compress well, in two records."""
    generator = random.Random(seed)
    return [Sample("x", generator.randbytes(20_000).hex(), seed) for _ in range(2)]


def check_balance(box: Outbox) -> None:
    for stream in box.stats().streams:
        assert stream.appended == stream.pending + stream.confirmed + stream.dropped, stream


def run(path: Path, scenario: Callable[[Outbox], Awaitable[None]], incarnation: str = "inc-1") -> None:
    async def main() -> None:
        async with opened(path, incarnation) as box:
            await scenario(box)

    asyncio.run(main())


def batch_id(box: Outbox, first: int, last: int, stream: str = "telemetry") -> BatchId:
    return BatchId("inc-1", stream, box.stats().epoch, first, last)


def test_append_numbers_records_and_pending_gives_them_back(tmp_path: Path) -> None:
    async def scenario(box: Outbox) -> None:
        window: Record = Window("meter/power", 0, 10**9, 1.0, 0.5, 2.0, 2.0, 3, unit="W")
        assert await box.append("telemetry", [window, *samples(2)]) == (1, 3, False)
        assert await box.append("alarms", samples(1)) == (1, 1, False)
        assert await box.append("telemetry", samples(1, 9)) == (4, 4, False)
        assert box.streams() == ("alarms", "telemetry")
        first, second = await box.pending("telemetry", 0, 10)
        assert first.id == batch_id(box, 1, 3)
        assert first.records == (window, *samples(2))
        assert second.id == batch_id(box, 4, 4)
        assert [b.id.first for b in await box.pending("telemetry", 3, 10)] == [4]
        assert [b.id.first for b in await box.pending("telemetry", 2, 10)] == [1, 4]
        assert [b.id.first for b in await box.pending("telemetry", 0, 1)] == [1]
        assert await box.pending("telemetry", 4, 10) == []
        assert await box.pending("unknown", 0, 10) == []

    run(tmp_path, scenario)


def test_appends_at_the_same_time_share_a_batch(tmp_path: Path) -> None:
    async def scenario(box: Outbox) -> None:
        results = await asyncio.gather(*(box.append("telemetry", samples(3, 3 * i)) for i in range(20)))
        assert sorted(first for first, _, _ in results) == list(range(1, 60, 3))
        assert [(m.id.first, m.id.last) for m in await box.messages("telemetry", 0, 99)] == [(1, 60)]
        assert box.appended().is_set()

    run(tmp_path, scenario)


def test_known_key_returns_the_old_range(tmp_path: Path) -> None:
    async def scenario(box: Outbox) -> None:
        twice = await asyncio.gather(*(box.append("telemetry", samples(2), "k1") for _ in range(2)))
        assert twice == [(1, 2, False), (1, 2, True)]
        assert await box.append("alarms", samples(1), "k1") == (1, 1, False)
        with pytest.raises(Conflict, match="k1"):
            await box.append("telemetry", samples(3), "k1")
        assert await box.append("telemetry", samples(1)) == (3, 3, False)

    run(tmp_path, scenario)

    async def later(box: Outbox) -> None:
        box.appended().clear()
        assert await box.append("telemetry", samples(2), "k1") == (1, 2, True)
        assert not box.appended().is_set()

    run(tmp_path, later)


def test_keys_are_bounded_and_survive_a_clock_that_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_KEYS", 20)
    monkeypatch.setattr(ledger, "MIN_KEYS", 5)
    now = {"ns": 0}
    monkeypatch.setattr("gateway.outbox.writer.time.time_ns", lambda: now["ns"])

    async def scenario(box: Outbox) -> None:
        for i in range(30):
            await box.append("telemetry", samples(1), f"k{i}")
        assert (await box.append("telemetry", samples(1), "k10")).known
        assert not (await box.append("telemetry", samples(1), "k9")).known
        now["ns"] = 50 * 365 * 24 * 3600 * 10**9
        await box.append("telemetry", samples(1), "after the jump")
        assert (await box.append("telemetry", samples(1), "k29")).known
        assert not (await box.append("telemetry", samples(1), "k20")).known

    run(tmp_path, scenario)


def test_confirm_frees_covered_batches_only(tmp_path: Path) -> None:
    async def scenario(box: Outbox) -> None:
        for i in range(3):
            await box.append("telemetry", samples(10, 10 * i))
        await box.confirm(batch_id(box, 1, 15))
        await box.confirm(batch_id(box, 25, 30))
        assert [m.id.first for m in await box.messages("telemetry", 0, 9)] == [11, 21]
        await box.confirm(batch_id(box, 1, 15))
        await box.confirm(batch_id(box, 11, 30))
        assert await box.messages("telemetry", 0, 9) == []
        stats = box.stats().streams[0]
        assert (stats.pending, stats.confirmed, stats.dropped, stats.bytes) == (0, 30, 0, 0)
        assert box.stats().foreign_confirmations == 0

    run(tmp_path, scenario)


def test_foreign_confirmations_are_ignored_and_counted(tmp_path: Path) -> None:
    async def scenario(box: Outbox) -> None:
        await box.append("telemetry", samples(5))
        mine = batch_id(box, 1, 5)
        foreign = (
            replace(mine, incarnation="inc-0"), replace(mine, epoch="0" * 16), replace(mine, stream="alarms"),
            replace(mine, last=6), replace(mine, first=0), replace(mine, first=4, last=3),
        )  # fmt: skip
        for confirmed in foreign:
            await box.confirm(confirmed)
        assert box.stats().foreign_confirmations == len(foreign)
        assert box.stats().streams[0].pending == 5

    run(tmp_path, scenario)


def test_numbers_and_accounts_continue_after_a_restart(tmp_path: Path) -> None:
    epochs = []

    async def scenario(box: Outbox) -> None:
        epochs.append(box.stats().epoch)
        first, last, _ = await box.append("telemetry", samples(10))
        assert first == 10 * len(epochs) - 9
        await box.confirm(batch_id(box, first, last))

    for _ in range(3):
        run(tmp_path, scenario)
    assert len(set(epochs)) == 1

    async def accounts(box: Outbox) -> None:
        assert (box.stats().streams[0].appended, box.stats().streams[0].confirmed) == (30, 30)

    run(tmp_path, accounts)


def test_quota_drops_the_oldest_of_the_greediest_stream(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path, max_bytes=1 << 20) as box:
            await box.append("alarms", samples(3))
            for i in range(40):
                await box.append("telemetry", noise(i))
            stats = {s.stream: s for s in box.stats().streams}
            assert stats["telemetry"].dropped > 0
            assert stats["alarms"].pending == 3
            assert box.stats().used_bytes <= 1 << 20

    asyncio.run(main())


def test_quota_keeps_accounts_and_the_newest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with opened(tmp_path, max_bytes=1 << 20) as box:
            for i in range(60):
                await box.append("telemetry", noise(i))
            stats = box.stats().streams[0]
            assert stats.dropped > 20
            kept = await box.messages("telemetry", 0, 99)
            assert [m.id.first for m in kept] == list(range(stats.dropped + 1, 120, 2))
            assert box.stats().used_bytes <= 1 << 20
            assert (tmp_path / "outbox.sqlite").stat().st_size < 3 << 19

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert sum("outbox full" in r.message for r in caplog.records) == 1


@pytest.mark.parametrize("damage", ["header", "middle", "garbage", "other database"])
def test_a_damaged_file_is_kept_aside_and_a_new_epoch_begins(tmp_path: Path, damage: str) -> None:
    epochs = []
    path = tmp_path / "outbox.sqlite"

    async def fill(box: Outbox) -> None:
        epochs.append(box.stats().epoch)
        for i in range(50):
            await box.append("telemetry", samples(20, 20 * i, "some text to fill pages "))

    run(tmp_path, fill)
    data = bytearray(path.read_bytes())
    if damage == "header":
        data[:64] = b"\0" * 64
    elif damage == "middle":
        data[4096:] = b"\xa5" * (len(data) - 4096)
    elif damage == "garbage":
        data = bytearray(b"not a database" * 1000)
    path.write_bytes(data)
    if damage == "other database":
        path.unlink()
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE things (x)")

    async def again(box: Outbox) -> None:
        assert await box.append("telemetry", samples(1)) == (1, 1, False)
        epochs.append(box.stats().epoch)
        assert len(await box.messages("telemetry", 0, 9)) == 1

    run(tmp_path, again)
    assert epochs[0] != epochs[1]
    assert len(list(tmp_path.glob("outbox.sqlite.aside-*"))) == 1


def test_a_damaged_batch_is_dropped_and_counted(tmp_path: Path) -> None:
    async def fill(box: Outbox) -> None:
        for i in range(3):
            await box.append("telemetry", samples(20, 20 * i))

    run(tmp_path, fill)
    with closing(sqlite3.connect(tmp_path / "outbox.sqlite")) as connection, connection:
        connection.execute("UPDATE batches SET payload = zeroblob(100) WHERE last = 40")

    async def read(box: Outbox) -> None:
        assert [m.id.first for m in await box.messages("telemetry", 0, 9)] == [1, 41]
        assert box.stats().streams[0].dropped == 20

    run(tmp_path, read)


def test_only_the_newest_files_are_kept_aside(tmp_path: Path) -> None:
    for i in range(4):
        run(tmp_path, _append_one, incarnation=f"inc-{i}")
    assert len(list(tmp_path.glob("outbox.sqlite.aside-????????"))) == database.KEPT_ASIDE


async def _append_one(box: Outbox) -> None:
    assert await box.append("telemetry", samples(1)) == (1, 1, False)


def test_another_incarnation_does_not_get_the_old_records(tmp_path: Path) -> None:
    run(tmp_path, _append_one)
    run(tmp_path, _append_one, incarnation="inc-2")
    assert len(list(tmp_path.glob("outbox.sqlite.aside-????????"))) == 1


def test_a_newer_schema_is_refused_and_stays(tmp_path: Path) -> None:
    run(tmp_path, _append_one)
    with closing(sqlite3.connect(tmp_path / "outbox.sqlite")) as connection:
        connection.execute(f"PRAGMA user_version = {database.SCHEMA + 1}")
    with pytest.raises(NotSupported, match="newer than this agent"):
        run(tmp_path, _append_one)
    assert [p.name for p in tmp_path.iterdir()] == ["outbox.sqlite"]


def test_an_older_schema_is_migrated(tmp_path: Path) -> None:
    run(tmp_path, _append_one)
    path = tmp_path / "outbox.sqlite"
    connection, epoch = database.open_database(
        path, "inc-1", database.SCHEMA + 1, {database.SCHEMA: lambda c: c.execute("CREATE TABLE later (x)")}
    )
    with closing(connection):
        assert connection.execute("PRAGMA user_version").fetchone()[0] == database.SCHEMA + 1
        assert connection.execute("SELECT count(*) FROM later").fetchone()[0] == 0
    with pytest.raises(NotSupported, match="no migration"):
        database.open_database(path, "inc-1", database.SCHEMA + 3, {})
    assert epoch


def test_a_second_owner_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LOCK_TIMEOUT_S", 0.05)

    async def scenario(box: Outbox) -> None:
        await box.append("telemetry", samples(1))
        async with opened(tmp_path) as second:
            with pytest.raises(Unavailable, match="locked"):
                await second.append("telemetry", samples(1))
            assert "locked" in second.stats().fault

    run(tmp_path, scenario)


def test_what_cannot_be_stored_is_refused_before_it_waits(tmp_path: Path) -> None:
    async def scenario(box: Outbox) -> None:
        refused: list[tuple[str, list[Record], str]] = [
            ("Bad Stream", samples(1), ""), ("telemetry", [], ""), ("telemetry", samples(1), "k" * 300),
            ("telemetry", samples(1), "a\nb"), ("telemetry", [Sample("x", float("nan"), 1)], ""),
            ("telemetry", [Sample("x", "\ud800", 1)], ""), ("telemetry", [Sample("x", "y" * 10**6, 1)], ""),
            ("telemetry", [Window("x", 0, 1, float("inf"), 0, 0, 0, 1)], ""),
            ("telemetry", [Sample("x", 1 << 63, 1)], ""), ("telemetry", [Sample("x", -(10**5000), 1)], ""),
            ("telemetry", samples(outbox.MAX_APPEND_RECORDS + 1), ""),
        ]  # fmt: skip
        for stream, records, key in refused:
            with pytest.raises(InvalidInput):
                await box.append(stream, records, key)
        assert box.streams() == ()

    run(tmp_path, scenario)


def test_the_number_of_streams_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_STREAMS", 2)

    async def scenario(box: Outbox) -> None:
        results = await asyncio.gather(*(box.append(f"s{i}", samples(1)) for i in range(3)), return_exceptions=True)
        assert [isinstance(r, Conflict) for r in results] == [False, False, True]
        assert box.streams() == ("s0", "s1")

    run(tmp_path, scenario)


def test_cancelled_append_is_still_committed_and_closing_commits(tmp_path: Path) -> None:
    async def main() -> None:
        box = Outbox(tmp_path / "outbox.sqlite", "inc-1", QUOTA, 60.0)
        await box.open()
        tasks = [asyncio.create_task(box.append("telemetry", samples(5))) for _ in range(2)]
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        await box.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1] == (6, 10, False)
        with pytest.raises(Unavailable, match="not open"):
            await box.append("telemetry", samples(1))
        await box.close()

    before = threading.active_count()
    asyncio.run(main())
    assert threading.active_count() <= before + 1

    async def later(box: Outbox) -> None:
        assert box.stats().streams[0].appended == 10

    run(tmp_path, later)


def test_too_much_waiting_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MAX_WAITING_RECORDS", 10)

    async def scenario(box: Outbox) -> None:
        results = await asyncio.gather(*(box.append("telemetry", samples(6)) for _ in range(2)), return_exceptions=True)
        assert isinstance(results[1], Unavailable)
        await box.append("telemetry", samples(10))

    run(tmp_path, scenario)
