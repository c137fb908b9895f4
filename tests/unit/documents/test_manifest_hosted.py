"""The keys of a manifest by which a service lives in the container of another one."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.documents import manifest
from gateway.errors import InvalidInput
from tests.unit.documents import samples


def hosted(host: str = "site/main", **service: Any) -> dict[str, Any]:
    esdk = {"host": host, **service.pop("x_esdk", {})}
    return samples.manifest(x_esdk=esdk, **{"command": ["./run"], **service})


def refused(document: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        manifest.parse(document)
    return {problem.path: problem.message for problem in caught.value.problems}


def two(reader: dict[str, Any], store: dict[str, Any]) -> dict[str, Any]:
    """A reader that lives in the store of the same APP."""
    document = hosted("meter-reader/store")
    document["services"]["reader"].update(reader)
    document["services"]["store"] = {"image": samples.IMAGE, **store}
    return document


def test_a_hosted_service_has_no_network_of_its_own() -> None:
    (service,) = manifest.parse(hosted()).services
    assert (service.host, service.network, service.host_network, service.engine) == ("site/main", None, False, "")


def test_a_host_says_who_may_live_in_it() -> None:
    document = samples.manifest(x_esdk={"guests": ["one", "vendor-*", "local/tool", "one"]})
    assert manifest.parse(document).services[0].guests == ("one", "vendor-*", "local/tool")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("network_mode", "none", "has the network of its host"),
        ("ports", ["8080:80"], "the host publishes ports"),
        ("expose", ["80"], "the host exposes ports"),
        ("dns", ["192.0.2.1"], "has the network of its host"),
        ("extra_hosts", ["a:192.0.2.1"], "and its names"),
        ("user", "0:1000", "cannot be root"),
        ("user", "root", "cannot be root"),
    ],
)
def test_what_the_host_decides_is_refused_by_name(key: str, value: Any, reason: str) -> None:
    problems = refused(hosted(**{key: value}))
    assert list(problems) == [f"services.reader.{key}"]
    assert reason in problems[f"services.reader.{key}"]


def test_all_contradictions_are_told_at_once() -> None:
    document = hosted(x_esdk={"engine": "docker", "guests": ["one"], "network": {"egress": ["any"]}}, ports=["8080:80"])
    del document["services"]["reader"]["command"]
    below = "services.reader"
    assert set(refused(document)) == {
        f"{below}.command", f"{below}.ports", f"{below}.x-esdk.engine", f"{below}.x-esdk.guests",
        f"{below}.x-esdk.network",
    }  # fmt: skip


@pytest.mark.parametrize("host", ["main", "site/", "/main", "site/main/x", "Site/main", "*/main"])
def test_a_host_is_an_app_and_a_service(host: str) -> None:
    assert list(refused(hosted(host))) == ["services.reader.x-esdk.host"]


@pytest.mark.parametrize("guest", ["", "a/b/c", "UP", "one two", "/one", "a?"])
def test_a_guest_is_an_app_or_a_pattern(guest: str) -> None:
    assert list(refused(samples.manifest(x_esdk={"guests": [guest]}))) == ["services.reader.x-esdk.guests[0]"]


def test_within_one_file_the_host_must_be_there_and_may_not_need_its_guest() -> None:
    assert manifest.parse(two({}, {})).service("reader").host == "meter-reader/store"
    path = "services.reader.x-esdk.host"
    assert "no service else" in refused(hosted("meter-reader/else"))[path]
    assert "is hosted itself" in refused(hosted("meter-reader/reader"))[path]
    assert "depends on reader" in refused(two({}, {"depends_on": ["reader"]}))[path]
    chain = two({}, {"command": ["x"], "x-esdk": {"host": "other/main"}})
    assert "is hosted itself" in refused(chain)[path]
