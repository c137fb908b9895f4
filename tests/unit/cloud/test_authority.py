"""What a cloud begins with, and who can be enrolled."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cloud.authority import CLIENT, init
from cloud.database import Database
from cloud.state import State, read
from gateway.documents.certificates import Credentials, common_name, make_authority
from gateway.documents.enrolment import parse_enrolment
from gateway.documents.envelope import PrivateKey
from gateway.errors import Conflict, Corrupted, InvalidInput, NotFound, NotSupported
from tests.unit.cloud.site import GATEWAY, opened


def test_everything_made_is_private_and_made_once(tmp_path: Path) -> None:
    state = State(tmp_path / "cloud")
    partner = PrivateKey.generate()
    keys = init(state, {"partner": partner.public_pem()})
    assert sorted(key.authority for key in keys.signers.values()) == ["cloud", "partner"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in state.directory.iterdir()} == {0o600}
    assert common_name(read(state.certificate)) == CLIENT
    with pytest.raises(Conflict, match="in use already"):
        init(state, {})


def test_an_existing_authority_is_used(tmp_path: Path) -> None:
    ca = make_authority("Our CA")
    state = State(tmp_path / "cloud")
    init(state, {}, ca)
    assert Credentials(read(state.ca_certificate), read(state.ca_key)) == ca


@pytest.mark.parametrize("authority", ["cloud", "local", "Not A Name"])
def test_signers_of_impossible_authorities_are_refused(tmp_path: Path, authority: str) -> None:
    with pytest.raises(InvalidInput):
        init(State(tmp_path / "cloud"), {authority: PrivateKey.generate().public_pem()})
    assert not State(tmp_path / "cloud").database.exists()


def test_an_enrolment_is_what_a_gateway_takes(tmp_path: Path) -> None:
    with opened(tmp_path) as site:
        enrolment = parse_enrolment(site.enrolled.enrolment)
        assert (enrolment.gateway, enrolment.broker_port) == (GATEWAY, 8883)
        assert common_name(site.enrolled.certificate) == GATEWAY
        with pytest.raises(Conflict, match="enrolled already"):
            site.authority.enrol(GATEWAY, "127.0.0.1", 8883, again=False)
        with pytest.raises(Conflict, match="the cloud's own"):
            site.authority.enrol(CLIENT, "127.0.0.1", 8883, again=False)
        with pytest.raises(InvalidInput, match="gateway id"):
            site.authority.enrol("../gw", "127.0.0.1", 8883, again=False)
        with pytest.raises(InvalidInput, match="broker_host"):
            site.authority.enrol("gw-2", "no host", 8883, again=False)
        with pytest.raises(NotFound):
            site.store.gateway("gw-2")


def test_all_of_it_is_there_after_closing(tmp_path: Path) -> None:
    with opened(tmp_path) as site:
        signer, keys = site.store.signer().id, site.store.keys_documents()
        site.ingest.take([site.batch(1, 3)])
    with opened(tmp_path) as site:
        assert (site.store.signer().id, site.store.keys_documents()) == (signer, keys)
        assert len(site.samples.page(GATEWAY, 0, 10)) == 3


def test_a_newer_schema_and_foreign_bytes_are_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as site:
        site.database.execute("PRAGMA user_version = 99")
    with pytest.raises(NotSupported, match="schema 99"):
        Database(site.state.database).open()
    (tmp_path / "foreign.db").write_bytes(b"no database at all, but long enough to be read as one" * 50)
    with pytest.raises(Corrupted, match="cannot open"):
        Database(tmp_path / "foreign.db").open()
