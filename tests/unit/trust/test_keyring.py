"""Which keys hold for whom, and their succession."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.documents.envelope import PrivateKey
from gateway.documents.keys import encode_chain, sign_keys, succeed
from gateway.errors import Corrupted, FieldgateError, InvalidInput, NotPermitted, NotSupported
from gateway.model.enrolment import Enrolment
from gateway.model.profile import AuthorityCaps, GpioLine, Profile, SerialPort
from gateway.model.trust import Keys
from gateway.model.wire import to_wire
from gateway.paths import Paths
from gateway.trust.keyring import KeyRing, read_public_key
from tests.unit.documents import samples

ROOT, SIGNER, NEXT, LOCAL = (PrivateKey.generate() for _ in range(4))
FIRST = samples.keys(ROOT, SIGNER)
PROFILE = Profile(
    "board", "arm64",
    authorities={
        "cloud": AuthorityCaps(serial=("*",)),
        "contractor": AuthorityCaps(),
        "local": AuthorityCaps(key_files=("identity/local.pub",)),
    },
    serial=(SerialPort("RS485-1", "/dev/ttyS1"),),
    gpio=(GpioLine("DI1", "/dev/gpiochip0", 1), GpioLine("DO1", "/dev/gpiochip0", 2, output=True)),
)  # fmt: skip


class Judge:
    """The worker's judgement without its process."""

    async def keys(self, current: Keys, message: bytes) -> Keys:
        return succeed(current, message)


def enrolment(incarnation: str = "inc-1") -> Enrolment:
    return Enrolment("gw-1", incarnation, "broker", 8883, "ab" * 32, to_wire(FIRST))


def test_who_may_ask_for_something_and_has_keys_is_an_operator(paths: Paths) -> None:
    ring = KeyRing(paths, enrolment(), PROFILE)
    assert [entry.authority for entry in ring.operators()] == ["cloud"], "the others have no keys here"
    (paths.identity / "local.pub").write_bytes(LOCAL.public_pem())
    assert [entry.authority for entry in ring.operators()] == ["cloud", "local"]
    silent = replace(PROFILE, authorities={"cloud": AuthorityCaps(operations=())})
    assert KeyRing(paths, enrolment(), silent).operators() == []


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path / "state", tmp_path / "run")
    made.prepare()
    return made


def test_signers_of_the_keys_document(paths: Paths) -> None:
    expected = KeyRing(paths, enrolment(), PROFILE).expected("cloud")
    assert expected.signers == {SIGNER.id: SIGNER.public}
    assert (expected.gateway, expected.incarnation, expected.authority) == ("gw-1", "inc-1", "cloud")
    assert expected.caps.serial == ("*",)
    assert (expected.serial, expected.gpio) == (("RS485-1",), {"DI1": False, "DO1": True})


@pytest.mark.parametrize(
    ("authority", "cause"),
    [
        ("stranger", "does not know it"),
        ("contractor", "has 0 keys in the keys document"),
        ("local", "has 0 keys in identity/local.pub"),
    ],
)
def test_who_has_no_key_is_not_expected(paths: Paths, authority: str, cause: str) -> None:
    with pytest.raises(NotPermitted, match=cause):
        KeyRing(paths, enrolment(), PROFILE).expected(authority)


def test_a_key_file_counts_as_soon_as_it_is_there(paths: Paths) -> None:
    ring = KeyRing(paths, enrolment(), PROFILE)
    for content in (LOCAL.public_pem(), LOCAL.public.encode() + b"\n"):
        (paths.identity / "local.pub").write_bytes(content)
        assert ring.expected("local").signers == {LOCAL.id: LOCAL.public}
    (paths.identity / "local.pub").write_bytes(b"nonsense")
    with pytest.raises(NotPermitted):
        ring.expected("local")


@pytest.mark.parametrize(
    "content",
    [b"", b"zz", b"ab" * 31, b"\xff" * 64, b"x" * 5000, b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"],
)
def test_what_is_no_key_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "k").write_bytes(content)
    with pytest.raises(InvalidInput):
        read_public_key(tmp_path / "k")


def test_succession_survives_a_restart_and_ends_with_the_incarnation(paths: Paths) -> None:
    second = samples.keys(ROOT, NEXT, version=2)
    chain = encode_chain([sign_keys(second, [ROOT])])

    ring = KeyRing(paths, enrolment(), PROFILE)
    assert asyncio.run(ring.succeed(chain, Judge()))
    assert not asyncio.run(ring.succeed(chain, Judge()))
    for again in (ring, KeyRing(paths, enrolment(), PROFILE)):
        assert again.keys == second
        assert again.expected("cloud").signers == {NEXT.id: NEXT.public}
    assert KeyRing(paths, enrolment("inc-2"), PROFILE).keys == FIRST


def test_a_refused_successor_changes_nothing(paths: Paths) -> None:
    ring = KeyRing(paths, enrolment(), PROFILE)
    chain = encode_chain([sign_keys(samples.keys(NEXT, NEXT.generate(), version=2), [NEXT])])
    with pytest.raises(FieldgateError):
        asyncio.run(ring.succeed(chain, Judge()))
    assert ring.keys == FIRST
    assert not (paths.trust / "keys.json").exists()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{", Corrupted), (b'{"schema":1,"content":{}}', Corrupted), (b'{"schema":9,"content":{}}', NotSupported),
        (b'{"schema":1,"content":{"incarnation":"inc-1","keys":{"version":"x"}}}', Corrupted),
    ],
)  # fmt: skip
def test_a_damaged_file_is_told_and_not_ignored(paths: Paths, content: bytes, kind: type[FieldgateError]) -> None:
    (paths.trust / "keys.json").write_bytes(content)
    with pytest.raises(kind):
        KeyRing(paths, enrolment(), PROFILE)
