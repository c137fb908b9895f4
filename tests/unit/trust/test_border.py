"""The agent's side of the border, with the real worker and with broken ones."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.documents.desired import sign_desired
from gateway.documents.envelope import PrivateKey
from gateway.documents.keys import encode_chain, sign_keys
from gateway.errors import Corrupted, FieldgateError, InvalidInput, NotPermitted, NotSupported, Unavailable
from gateway.model.profile import AuthorityCaps
from gateway.model.wire import canonical
from gateway.trust.border import MAX_DOCUMENT_BYTES, Border
from tests.unit.documents import samples
from tests.unit.documents.test_enrolment import KEYS, ROOT, TEXT

KEY = PrivateKey.generate()
PROFILE = Path(__file__).parents[3] / "firmware_profiles/developer-x86_64.toml"
ABSENT = ("/nonexistent/worker",)


def program(code: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-c", code)


def test_documents_of_every_kind(tmp_path: Path) -> None:
    async def main() -> None:
        border = Border(tmp_path)
        accepted = await border.desired(samples.envelope(KEY, 3), samples.expected(KEY))
        assert (accepted.desired.revision, accepted.signers) == (3, (KEY.id,))
        assert (await border.profile(PROFILE, PROFILE.read_bytes())).name == "developer-x86_64"
        assert (await border.config(Path("c.toml"), b"uplink_window = 9")).uplink_window == 9
        assert (await border.enrolment(TEXT)).gateway == "gw-1"
        second = samples.keys(ROOT, KEY, version=2)
        assert await border.keys(KEYS, encode_chain([sign_keys(second, [ROOT])])) == second

    asyncio.run(main())


def test_a_boot_needs_no_worker(tmp_path: Path) -> None:
    async def main() -> None:
        text = PROFILE.read_bytes()
        first = await Border(tmp_path).profile(PROFILE, text)
        asleep = Border(tmp_path, worker=ABSENT)
        assert await asleep.profile(PROFILE, text) == first
        with pytest.raises(Unavailable):
            await asleep.profile(PROFILE, text + b"\n")

    asyncio.run(main())


NOTHING = AuthorityCaps()


@pytest.mark.parametrize(
    ("envelope", "expected", "kind", "cause"),
    [
        (samples.envelope(KEY), samples.expected(ROOT), NotPermitted, "0 of 1 needed signatures"),
        (samples.envelope(KEY, gateway="gw-2"), samples.expected(KEY), InvalidInput, "for gateway gw-2"),
        (samples.envelope(KEY), samples.expected(KEY, caps=NOTHING), NotPermitted, "authorities.cloud.serial"),
        (
            samples.envelope(KEY, document=samples.manifest(x_esdk={"serial": {"COM1": "transact"}})),
            samples.expected(KEY),
            NotSupported,
            "no serial port COM1",
        ),
        (b"{" * 100_000, samples.expected(KEY), InvalidInput, "not JSON"),
        (b"[" * 1_000_000, samples.expected(KEY), InvalidInput, "deeper than 32"),
        (b"\xff" * 1000, samples.expected(KEY), InvalidInput, "not UTF-8"),
        (b'{"payload": NaN}', samples.expected(KEY), InvalidInput, "not a finite number"),
        (b" " * (10 << 20), samples.expected(KEY), InvalidInput, "are more than"),
        (b" " * MAX_DOCUMENT_BYTES, samples.expected(KEY), InvalidInput, "are more than"),
        (b"", samples.expected(KEY), InvalidInput, "not JSON"),
    ],
)
def test_refusals_arrive_as_the_worker_meant_them(
    tmp_path: Path, envelope: bytes, expected: Any, kind: type[FieldgateError], cause: str
) -> None:
    with pytest.raises(kind) as caught:
        asyncio.run(Border(tmp_path).desired(envelope, expected))
    assert cause in str(caught.value)


def test_all_problems_of_a_manifest_arrive(tmp_path: Path) -> None:
    bad = samples.manifest(sysctls=["a=1"], privileged=True)
    payload = canonical({
        "gateway": "gw-1", "incarnation": "inc-1", "authority": "cloud", "revision": 1,
        "apps": [{"name": "meter-reader", "compose": bad}],
    })  # fmt: skip
    with pytest.raises(InvalidInput) as caught:
        asyncio.run(Border(tmp_path).desired(sign_desired(payload, [KEY]), samples.expected(KEY)))
    paths = [problem.path for problem in caught.value.problems]
    assert paths == [f"apps.meter-reader.services.reader.{key}" for key in ("privileged", "sysctls")]


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import os; os.kill(os.getpid(), 9)", "exit code -9"),
        ("import os; os.abort()", "exit code -6"),
        ("raise SystemExit('out of memory')", "exit code 1"),
        ("", "verdict is not one"),
        ("print('nonsense')", "verdict is not one"),
        ("print('[]')", "verdict is not one"),
        ('print(\'{"ok": {"log_level": 5}}\')', "verdict is not one"),
        ('print(\'{"ok": {"root": true}}\')', "verdict is not one"),
        ("print('{\"error\": 5}')", "verdict is not one"),
        ("print('[' * 200000)", "verdict is not one"),
        ("print(' ' * (9 << 20) + '{}')", "verdict is not one"),
    ],
)
def test_a_broken_worker_is_a_refused_document(tmp_path: Path, code: str, cause: str) -> None:
    with pytest.raises(Corrupted, match=cause):
        asyncio.run(Border(tmp_path, worker=program(code)).config(Path("c"), b""))
    assert not list(tmp_path.iterdir())


def test_a_worker_that_hangs_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    started = time.monotonic()
    with pytest.raises(Corrupted, match="no verdict within 2 s"):
        asyncio.run(Border(tmp_path, worker=program(code), timeout_s=2).config(Path("c"), b""))
    assert time.monotonic() - started < 10
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_cancelling_kills_the_worker(tmp_path: Path) -> None:
    async def main() -> None:
        border = Border(tmp_path, worker=program("import time; time.sleep(60)"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await border.config(Path("c"), b"")

    asyncio.run(main())


def test_one_worker_at_a_time(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = (
        f"import os, time; os.mkdir({str(lock)!r}); time.sleep(0.1); os.rmdir({str(lock)!r}); print('{{\"ok\": {{}}}}')"
    )

    async def main() -> None:
        border = Border(tmp_path, worker=program(code))
        await asyncio.gather(*(border.config(Path("c"), b"#" * n) for n in range(4)))

    asyncio.run(main())
