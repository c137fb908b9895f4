"""`app.toml` of a package: what becomes of it, and that all its faults are told at once by their own paths."""

from __future__ import annotations

import json

import pytest

from gateway.documents import manifest, package
from gateway.errors import InvalidInput
from gateway.model.app import Restart, VolumeMount
from tests.unit.documents import samples

GOOD = """
name = "acquire"
version = "1.4.0"
host = "site/runtime"

[services.reader]
command = ["./bin/reader", "--price", "$5"]
environment = {LEVEL = "info"}
volumes = ["data:/data", {type = "volume", source = "more", target = "/more"}]
limits = {cpus = 0.5, memory = "32M", pids = 16}
healthcheck = {test = ["CMD", "check"], interval = "5s"}
esdk.serial.RS485-1 = "transact"
esdk.settings = {unit = 1}

[services.second]
command = "./second"
restart = "no"
depends_on = ["reader"]
"""


def faults(text: str, host: str = "") -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        package.expand(text.encode(), samples.IMAGE, host)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_it_becomes_a_compose_document_that_a_gateway_takes() -> None:
    document = package.expand(GOOD.encode(), samples.IMAGE)
    app = manifest.parse(manifest.pin(document, {}))
    reader, second = app.services
    assert (app.name, app.version) == ("acquire", "1.4.0")
    assert {service.host for service in app.services} == {"site/runtime"}
    assert {service.image for service in app.services} == {samples.IMAGE}
    assert reader.command == ("./bin/reader", "--price", "$5")
    assert (reader.limits.cpus, reader.limits.memory_bytes, reader.limits.pids) == (0.5, 32 << 20, 16)
    assert (reader.restart, second.restart) == (Restart.UNLESS_STOPPED, Restart.NO)
    assert reader.volumes == (VolumeMount("data", "/data"), VolumeMount("more", "/more"))
    assert (reader.esdk.serial, reader.settings) == (("RS485-1",), {"unit": "1"})
    assert list(second.depends_on) == ["reader"]


def test_who_deploys_it_says_where_it_lives() -> None:
    document = package.expand(GOOD.encode(), samples.IMAGE, "other/main")
    assert manifest.parse(document).services[0].host == "other/main"
    assert "as APP/SERVICE" in faults(GOOD.replace("host =", "# host ="))["host"]


def test_all_faults_are_told_at_once_by_their_paths_in_the_file() -> None:
    text = """
name = "Bad Name"
version = ""
colour = "blue"
[services.reader]
image = "registry.example/x"
limits = {memory = "1M", disk = 3}
esdk = {tags = {publish = ["//"]}, nonsense = 1}
healthcheck = {interval = "5s"}
ports = ["8080:80"]
[services.second]
command = ["x"]
user = "root"
"""
    found = faults(text)
    assert set(found) == {
        "colour", "host", "name", "version", "services.reader.command", "services.reader.esdk.nonsense",
        "services.reader.esdk.tags.publish[0]", "services.reader.healthcheck", "services.reader.image",
        "services.reader.limits.disk", "services.reader.limits.memory", "services.reader.ports",
    }  # fmt: skip
    assert found["services.reader.limits.memory"] == "must be at least 4M: nothing starts with less"
    assert "cannot be root" in faults(GOOD + 'user = "root"')["services.second.user"]


def test_what_is_no_package_is_said() -> None:
    for config in (b"{}", b'{"app": 1}', b"[]"):
        with pytest.raises(InvalidInput, match="is it an image"):
            package.app_toml(config)
    assert package.app_toml(json.dumps({"app": GOOD}).encode()) == GOOD.encode()
    with pytest.raises(InvalidInput, match="not TOML"):
        package.expand(b"=", samples.IMAGE)
