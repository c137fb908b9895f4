"""The shell of the data line, with the real tag table, outbox and lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import NotPermitted, Unavailable
from gateway.field.line_commands import LineCommands
from gateway.field.lines import Lines
from gateway.lifecycle.queue import NewsQueue
from gateway.model.app import Deadband, Grant, Rule, Uplink
from gateway.model.profile import GpioLine
from gateway.model.tags import Sample, Window
from gateway.outbox.ledger import MAX_STREAMS
from gateway.outbox.outbox import Outbox
from gateway.pipeline.pipeline import Pipeline
from gateway.tags.table import TagTable
from tests.fakes.chip import MemoryChip

S = 10**9
OWNER = "meter.reader"
GRANT = Grant(
    publish=("meter/#",),
    gpio={"DO1": "write"},
    uplink=Uplink(window_s=1.0, deadbands={"meter/#": Deadband(absolute=1)}),
    rules=(Rule("overload", "meter/power", "DO1", 1, above=5000),),
)


class House:
    """The rooms around one pipeline; `clock` moves by hand."""

    def __init__(self, state: Path) -> None:
        self.now_ns = 0
        self.chip = MemoryChip()
        self.lines = Lines([GpioLine("DO1", "memory", 1, output=True)], state, open_chip=self.chip.open)
        self.table = TagTable()
        self.outbox = Outbox(state / "outbox.sqlite", "1a2b", 1 << 20, 0.0)
        self.grants: NewsQueue[Mapping[str, Grant]] = NewsQueue(4)
        self.pipeline = Pipeline(
            self.table, self.outbox, LineCommands(self.lines), self.grants, clock=lambda: self.now_ns
        )

    async def publish(self, *values: float, at_s: float = 0.0, durable: bool = False, key: str = "") -> object:
        samples = [Sample("meter/power", value, int(at_s * S), "W", source=OWNER) for value in values]
        return await self.pipeline.ingest(samples, owner=OWNER, durable=durable, key=key)

    async def stored(self, count: int) -> list[Window | Sample]:
        """What the outbox holds once it is `count` records."""
        async with asyncio.timeout(5):
            while True:
                batches = await self.outbox.pending("telemetry", 0, 100)
                records = [record for batch in batches for record in batch.records]
                if len(records) >= count:
                    return records
                await asyncio.sleep(0.01)


@asynccontextmanager
async def house(state: Path) -> AsyncIterator[House]:
    built = House(state)
    await built.outbox.open()
    built.lines.open()
    built.pipeline.configure({OWNER: GRANT})
    running = asyncio.create_task(built.pipeline.run())
    await asyncio.sleep(0)
    try:
        yield built
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        built.lines.close(tear_down=False)
        await built.outbox.close()


def inside(state: Path, story: Callable[[House], Awaitable[None]]) -> None:
    async def main() -> None:
        async with house(state) as built:
            await story(built)

    asyncio.run(main())


def test_a_rule_answers_before_ingest_returns(tmp_path: Path) -> None:
    async def story(h: House) -> None:
        await h.publish(6000)
        assert h.chip.levels == {1: 1}
        await h.publish(100, at_s=1)
        assert h.chip.levels == {1: 0}
        assert h.pipeline.status().responses == 2

    inside(tmp_path, story)


def test_windows_go_to_the_outbox_through_their_deadband(tmp_path: Path) -> None:
    async def story(h: House) -> None:
        for second, values in enumerate([(10, 20), (15, 15), (30, 40)]):
            await h.publish(*values, at_s=second)
            h.now_ns += 2 * S
            h.pipeline.configure({OWNER: GRANT})  # wakes it: this clock does not move by itself
            await asyncio.sleep(0.02)
        means = [record.mean for record in await h.stored(2) if isinstance(record, Window)]
        assert means == [15, 35]

    inside(tmp_path, story)


def test_durable_samples_are_stored_when_it_answers_and_once_per_key(tmp_path: Path) -> None:
    async def story(h: House) -> None:
        first = await h.publish(1, 2, durable=True, key="k1")
        again = await h.publish(1, 2, durable=True, key="k1")
        assert first == again
        assert [r.value for r in await h.stored(2) if isinstance(r, Sample)] == [1, 2]
        assert len(await h.stored(2)) == 2

    inside(tmp_path, story)


def test_samples_that_are_sent_again_with_their_key_count_once(tmp_path: Path) -> None:
    async def story(h: House) -> None:
        for _ in range(3):
            await h.publish(1, 3, key="k")
        assert h.pipeline.status().open_samples == 2

    inside(tmp_path, story)


def test_history_neither_switches_nor_shows(tmp_path: Path) -> None:
    async def story(h: House) -> None:
        await h.publish(100, at_s=10)
        await h.publish(9000, at_s=5, key="held-up")
        assert h.chip.levels == {1: 0}
        latest = h.table.get("meter/power")
        assert latest is not None
        assert latest.value == 100
        assert h.pipeline.status().open_samples == 2

    inside(tmp_path, story)


def test_what_was_open_is_stored_when_the_agent_stops(tmp_path: Path) -> None:
    async def main() -> None:
        async with house(tmp_path) as h:
            await h.publish(7)
        await h.outbox.open()
        assert [r.mean for r in await h.stored(1) if isinstance(r, Window)] == [7]
        await h.outbox.close()

    asyncio.run(main())


def test_a_killed_agent_leaves_the_line_and_the_next_one_clears_it_when_the_overload_is_over(tmp_path: Path) -> None:
    chip = MemoryChip()
    chip.levels[1] = 1  # as the killed agent left it

    async def main() -> None:
        lines = Lines([GpioLine("DO1", "memory", 1, output=True)], tmp_path, open_chip=chip.open)
        lines.open()
        pipeline = Pipeline(TagTable(), Outbox(tmp_path / "o", "1a", 1 << 20, 0.0), LineCommands(lines), NewsQueue(1))
        pipeline.configure({OWNER: GRANT})
        assert chip.levels == {1: 1}, "nothing is known yet: the level is left alone"
        await pipeline.ingest([Sample("meter/power", 10, 1, source=OWNER)], owner=OWNER, durable=False, key="")
        assert chip.levels == {1: 0}
        lines.close(tear_down=False)

    asyncio.run(main())


def test_what_the_outbox_will_never_take_holds_nothing_up(tmp_path: Path) -> None:
    async def story(h: House) -> None:
        samples = [Sample(f"meter/text{n}", "\ud800" if n in (3, 4) else f"t{n}", 1, source=OWNER) for n in range(9)]
        await h.pipeline.ingest(samples, owner=OWNER, durable=False, key="")
        h.now_ns += 2 * S
        h.pipeline.configure({OWNER: GRANT})
        stored = [r.value for r in await h.stored(7) if isinstance(r, Sample)]
        assert stored == ["t0", "t1", "t2", "t5", "t6", "t7", "t8"]
        assert (h.pipeline.status().dropped_records, h.pipeline.status().waiting_records) == (2, 0)

    inside(tmp_path, story)


def test_a_stream_that_the_outbox_has_no_room_for_holds_no_other_up(tmp_path: Path) -> None:
    async def story(h: House) -> None:
        for number in range(MAX_STREAMS - 1):
            await h.outbox.append(f"s{number}", [Sample("a", 1, 1)])
        grants = {name: replace(GRANT, uplink=Uplink(stream, 1.0)) for name, stream in
                  ((OWNER, "telemetry"), ("early.one", "alarms"))}  # fmt: skip
        h.pipeline.configure(grants)
        for owner in grants:
            await h.pipeline.ingest([Sample("meter/power", 1, 1)], owner=owner, durable=False, key="")
        h.now_ns += 2 * S
        h.pipeline.configure(grants)
        async with asyncio.timeout(5):
            while h.pipeline.status().dropped_records == 0:
                await asyncio.sleep(0.01)
        assert len(await h.outbox.pending("alarms", 0, 10)) == 1
        assert h.pipeline.status().waiting_records == 0

    inside(tmp_path, story)


def test_errors_take_nothing(tmp_path: Path) -> None:
    async def story(h: House) -> None:
        h.pipeline.configure({OWNER: Grant(publish=("meter/#",))})
        with pytest.raises(NotPermitted, match=r"x-esdk\.uplink"):
            await h.publish(1, durable=True)
        h.pipeline.configure({})
        with pytest.raises(Unavailable, match="not in force"):
            await h.publish(1)
        assert h.table.get("meter/power") is None

    inside(tmp_path, story)
