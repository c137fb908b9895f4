"""The record of orders: on disk before the deed, bounded, and readable whatever a power cut left."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import InvalidInput, NotFound, Unavailable
from gateway.model.audit import AuditEntry
from gateway.operations import audit as audit_room
from gateway.operations.audit import Audit
from gateway.operations.execution import By, Execution, check_argv, nothing_more
from tests.unit.reconcile.agent import Site, app, report, until

ENTRY = AuditEntry("id-1", "cloud", "exec", "meter", arguments="ls", began_ns=1)


def loaded(path: Path) -> list[AuditEntry]:
    audit = Audit(path)
    audit.load()
    return audit.entries()


def test_what_was_begun_is_known_to_the_next_agent(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit.jsonl")
    audit.load()
    audit.write(ENTRY)
    assert loaded(tmp_path / "audit.jsonl") == [ENTRY]
    done = replace(ENTRY, ended_ns=2, outcome="done", exit_code=0)
    audit.write(done)
    assert loaded(tmp_path / "audit.jsonl") == [done] == audit.entries()
    assert audit.find("id-1") == done
    assert audit.find("id-2") is None
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_torn_line_costs_itself_only(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    Audit(path).write(ENTRY)
    with path.open("ab") as file:
        file.write(b'{"app":"met')
    second = replace(ENTRY, id="id-2")
    Audit(path).write(second)
    assert loaded(path) == [ENTRY, second]


def test_it_is_bounded_on_the_flash_and_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_room, "MAX_FILE_BYTES", 2000)
    monkeypatch.setattr(audit_room, "MAX_ENTRIES", 20)
    audit = Audit(tmp_path / "audit.jsonl")
    for number in range(200):
        audit.write(replace(ENTRY, id=f"id-{number}"))
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2 * 2200
    assert [entry.id for entry in audit.entries()] == [f"id-{number}" for number in range(180, 200)]
    assert loaded(tmp_path / "audit.jsonl")[-1].id == "id-199"


def test_what_cannot_be_recorded_is_not_done(tmp_path: Path) -> None:
    done = []

    async def scenario() -> None:
        site = Site(tmp_path)
        site.desire(app("one"))
        async with site.agent() as agent:
            await until(lambda: report(agent) is not None)
            execution = Execution(agent._engine, agent, Audit(tmp_path / "none" / "audit.jsonl"), "boot")

            async def do() -> None:
                done.append(True)

            with pytest.raises(Unavailable, match="cannot record"):
                await execution.recorded(execution.entry(By("me"), "restart", "app"), do, nothing_more)

    asyncio.run(scenario())
    assert not done


def test_a_program_is_run_recorded_and_cut(tmp_path: Path) -> None:
    async def scenario() -> None:
        site = Site(tmp_path)
        site.desire(app("one"))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and bool(r.services[0].pid))
            audit = Audit(tmp_path / "audit.jsonl")
            execution = Execution(agent._engine, agent, audit, "boot")
            result = await execution.execute("app", "", ["true"], 5.0, 3, By("cloud", "op-1"))
            assert result["exit_code"] == 0
            with pytest.raises(NotFound):
                await execution.execute("other", "", ["true"], 5.0, 3, By("cloud", "op-2"))
            (entry,) = audit.entries()
            assert (entry.id, entry.by, entry.op, entry.exit_code, entry.outcome) == (
                "op-1",
                "cloud",
                "exec",
                0,
                "done",
            )
            assert entry.boot_id == "boot"

    asyncio.run(scenario())


@pytest.mark.parametrize("argv", [[], [""], ["a\0b"], ["a"] * 257])
def test_no_program(argv: list[str]) -> None:
    with pytest.raises(InvalidInput, match="cannot run it"):
        check_argv(argv)
