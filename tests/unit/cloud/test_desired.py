"""Deployments: what the cloud signs is what a gateway accepts, before and after keys and incarnations change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloud.authority import make_successor
from cloud.state import read
from gateway.documents.desired import accept_desired
from gateway.documents.enrolment import parse_enrolment
from gateway.documents.envelope import PrivateKey
from gateway.documents.keys import succeed
from gateway.errors import Corrupted, InvalidInput, NotFound, NotPermitted
from gateway.model.desired import AcceptedDesired
from gateway.model.profile import AuthorityCaps
from gateway.model.reports import GatewayStatus
from gateway.model.trust import Expected, Keys
from gateway.model.wire import from_wire
from tests.unit.cloud.site import GATEWAY, Site, opened
from tests.unit.documents.samples import MANIFEST, manifest

APP = "meter-reader"


def _accepted(site: Site, keys: Keys | None = None) -> AcceptedDesired:
    """What a gateway with the site's enrolment (and with those keys, if they have changed) makes of it."""
    enrolment = parse_enrolment(site.enrolled.enrolment)
    keys = keys or from_wire(Keys, enrolment.keys)
    signers = {identity: key.public for identity, key in keys.signers.items() if key.authority == "cloud"}
    caps = AuthorityCaps(serial=("*",), gpio=("*",))
    lines = {"DI1": False, "DO1": True}
    expected = Expected(GATEWAY, site.incarnation, "cloud", signers, keys.threshold, caps, ("RS485-1",), lines)
    row = site.store.desired(GATEWAY)
    assert row is not None
    return accept_desired(row.envelope, expected)


def test_every_change_is_a_revision_that_the_gateway_accepts(tmp_path: Path) -> None:
    with opened(tmp_path) as site:
        other = {**MANIFEST, "name": "other"}
        assert site.deployments.put(GATEWAY, APP, MANIFEST)["revision"] == 1
        assert site.deployments.put(GATEWAY, "other", other)["revision"] == 2
        made = site.deployments.put(GATEWAY, APP, manifest(command=["new"]))
        accepted = _accepted(site)
        assert (made["revision"], accepted.desired.revision) == (3, 3)
        assert made["replaces"] == "1.2.0"
        assert {app.name: app.digest for app in accepted.desired.apps}[APP] == made["digest"]
        site.deployments.remove(GATEWAY, APP)
        assert [app.name for app in _accepted(site).desired.apps] == ["other"]
        site.deployments.remove(GATEWAY, "other")
        assert (_accepted(site).desired.revision, _accepted(site).desired.apps) == (5, ())


def test_what_a_gateway_would_refuse_is_never_signed(tmp_path: Path) -> None:
    with opened(tmp_path) as site:
        with pytest.raises(InvalidInput, match="2 problems") as caught:
            site.deployments.put(GATEWAY, APP, manifest(sysctls=["a=1"], image="registry.example/a:1"))
        assert {problem.path for problem in caught.value.problems} == {
            "services.reader.sysctls",
            "services.reader.image",
        }
        with pytest.raises(InvalidInput, match="is of APP"):
            site.deployments.put(GATEWAY, "other", MANIFEST)
        with pytest.raises(NotFound, match="not enrolled"):
            site.deployments.put("gw-2", APP, MANIFEST)
        with pytest.raises(NotFound, match="has not deployed"):
            site.deployments.remove(GATEWAY, APP)
        assert site.deployments.put(GATEWAY, APP, MANIFEST, dry_run=True)["revision"] == 1
        assert site.store.desired(GATEWAY) is None


def test_a_revision_is_above_what_the_gateway_reports(tmp_path: Path) -> None:
    with opened(tmp_path) as site:
        with site.database.transaction():
            site.store.put_status(GATEWAY, GatewayStatus(True, site.incarnation, revisions={"cloud": 41}))
        assert site.deployments.put(GATEWAY, APP, MANIFEST)["revision"] == 42


def test_after_a_rotation_the_new_keys_accept_and_the_old_ones_do_not(tmp_path: Path) -> None:
    with opened(tmp_path) as site:
        site.deployments.put(GATEWAY, APP, MANIFEST)
        first = from_wire(Keys, parse_enrolment(site.enrolled.enrolment).keys)
        assert site.authority.chain() == b""
        root = PrivateKey.from_pem(read(site.state.root_key))
        for _ in range(2):
            site.authority.succeed(*make_successor(site.authority.newest(), root, {}))
        site.deployments.sign_again()
        newest = succeed(first, site.authority.chain())
        assert newest.version == 3
        assert _accepted(site, newest).desired.revision == 1
        with pytest.raises(NotPermitted):
            _accepted(site, first)


def test_a_rotation_needs_the_root_and_a_signer_that_it_names(tmp_path: Path) -> None:
    with opened(tmp_path) as site:
        with pytest.raises(InvalidInput, match="not a root key"):
            make_successor(site.authority.newest(), PrivateKey.generate(), {})
        root = PrivateKey.from_pem(read(site.state.root_key))
        envelope, signer = make_successor(site.authority.newest(), root, {})
        with pytest.raises(InvalidInput, match="does not name"):
            site.authority.succeed(envelope, PrivateKey.generate())
        document = json.loads(envelope)
        document["signatures"][0]["sig"] = "A" * 86 + "=="
        with pytest.raises(Corrupted):
            site.authority.succeed(json.dumps(document).encode(), signer)
        assert len(site.store.keys_documents()) == 1


def test_enrolled_anew_what_was_wanted_is_wanted_of_the_new_incarnation(tmp_path: Path) -> None:
    with opened(tmp_path) as site:
        site.deployments.put(GATEWAY, APP, MANIFEST)
        before = site.incarnation
        site.enrolled = site.authority.enrol(GATEWAY, "127.0.0.1", 8883, again=True)
        site.deployments.move(GATEWAY)
        accepted = _accepted(site)
        assert site.incarnation != before
        assert (accepted.desired.incarnation, accepted.desired.revision) == (site.incarnation, 2)
