"""The manifest: what every supported key becomes, and how everything else is refused."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.documents import manifest
from gateway.errors import InvalidInput
from gateway.model import app
from gateway.model.wire import canonical, from_wire, to_wire
from tests.unit.documents import samples

FULL = f"""
name: meter-reader
version: "3.9"
x-esdk-version: "1.3.0"
x-anybody: {{ports: [1]}}
services:
  reader:
    image: {samples.IMAGE}
    command: python3 -m reader --name 'a b'
    entrypoint: ["/init"]
    environment: [A=1, "B=x=y"]
    labels: {{who: me}}
    user: 1000
    working_dir: /srv
    read_only: true
    restart: unless-stopped
    stop_signal: INT
    stop_grace_period: 1m30s
    network_mode: none
    healthcheck: {{test: "true", interval: 5s, timeout: 2s, retries: 2, start_period: 10s}}
    deploy: {{resources: {{limits: {{cpus: "0.50", memory: 64M, pids: 64}}}}}}
    volumes:
      - data:/data
      - /etc/ssl:/etc/ssl:ro
      - {{type: tmpfs, target: /cache, tmpfs: {{size: 1M}}}}
    tmpfs: /tmp:size=2M
    devices: ["/dev/ttyS9:/dev/ttyS9:rwm"]
    cap_add: [CAP_NET_RAW]
    cap_drop: [ALL]
    depends_on: {{store: {{condition: service_healthy}}}}
    x-esdk:
      serial: {{RS485-1: transact}}
      gpio: {{DI1: read, DO1: write}}
      tags: {{publish: ["meter/#"], read: ["env/+"]}}
      system: [info, time]
      engine: docker
      standby: true
      uplink: {{class: energy, window: 2s, deadband: {{"meter/#": {{absolute: 5, percent: 1.5, max_silence: 1m}}}}}}
      rules:
        - {{name: over, when: {{tag: meter/power, above: 3000, hysteresis: 100}}, set: {{DO1: 1}}}}
      settings: {{address: 7, verbose: true}}
  store:
    image: {samples.IMAGE}
    network_mode: host
    healthcheck: {{test: [CMD, check]}}
volumes: {{data: }}
"""


def test_every_supported_key() -> None:
    parsed = manifest.parse(manifest.load(FULL.encode()))
    assert (parsed.name, parsed.version) == ("meter-reader", "1.3.0")
    assert parsed.service("reader") == app.Service(
        name="reader",
        image=samples.IMAGE,
        command=("python3", "-m", "reader", "--name", "a b"),
        entrypoint=("/init",),
        environment={"A": "1", "B": "x=y"},
        user="1000",
        working_dir="/srv",
        read_only=True,
        restart=app.Restart.UNLESS_STOPPED,
        stop_grace_period_s=90.0,
        stop_signal="SIGINT",
        healthcheck=app.HealthCheck(("/bin/sh", "-c", "true"), 5.0, 2.0, 2, 10.0),
        limits=app.Limits(0.5, 64 << 20, 64),
        volumes=(app.VolumeMount("data", "/data"),),
        binds=(app.BindMount("/etc/ssl", "/etc/ssl", True),),
        tmpfs=(app.TmpfsMount("/tmp", 2 << 20), app.TmpfsMount("/cache", 1 << 20)),
        devices=("/dev/ttyS9",),
        cap_add=("NET_RAW",),
        cap_drop=("ALL",),
        depends_on={"store": app.Condition.HEALTHY},
        esdk=app.Grant(
            serial=("RS485-1",),
            gpio={"DI1": "read", "DO1": "write"},
            publish=("meter/#",),
            read=("env/+",),
            system=("info", "time"),
            uplink=app.Uplink("energy", 2.0, {"meter/#": app.Deadband(5.0, 1.5, 60.0)}),
            rules=(app.Rule("over", "meter/power", "DO1", 1, above=3000.0, hysteresis=100.0),),
        ),
        standby=True,
        engine="docker",
        settings={"address": "7", "verbose": "true"},
    )
    assert parsed.service("store").host_network
    assert from_wire(app.App, to_wire(parsed)) == parsed


def test_defaults_are_composes_own() -> None:
    parsed = manifest.parse({"name": "a", "services": {"s": {"image": samples.IMAGE}}})
    assert parsed == app.App("a", (app.Service("s", samples.IMAGE),), "1.2.0")


@pytest.mark.parametrize(
    ("health", "built"),
    [
        ({"test": ["CMD", "a", "b"]}, app.HealthCheck(("a", "b"))),
        ({"test": ["CMD-SHELL", "a b"]}, app.HealthCheck(("/bin/sh", "-c", "a b"))),
        ({"test": ["NONE"]}, None),
        ({"disable": True}, None),
    ],
)
def test_health_checks(health: dict[str, Any], built: app.HealthCheck | None) -> None:
    assert manifest.parse(samples.manifest(healthcheck=health)).services[0].healthcheck == built


def test_dollars_are_escaped_as_in_compose() -> None:
    parsed = manifest.parse(samples.manifest(command=["echo", "a$$b$$$$"]))
    assert parsed.services[0].command == ("echo", "a$b$$")


def test_what_is_named_like_an_extension_is_no_extension() -> None:
    """Compose knows `x-...` keys where its own keys stand, not where names do."""
    reader = {**samples.MANIFEST["services"]["reader"], "environment": {"x-mode": "a$$b"}, "x-foreign": "$x"}
    accepted = manifest.parse({"name": "app", "services": {"x-reader": reader}})
    (service,) = accepted.services
    assert (service.name, service.environment) == ("x-reader", {"x-mode": "a$b"})


def refused(document: Any, **options: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        manifest.parse(document, **options)
    return {problem.path: problem.message for problem in caught.value.problems}


R = "services.reader"


@pytest.mark.parametrize(
    ("service", "path", "cause"),
    [
        ({"sysctls": ["a=1"]}, "sysctls", "not supported yet"),
        ({"privileged": True}, "privileged", "never supported"),
        ({"frobnicate": 1}, "frobnicate", "this key is not supported"),
        ({"deploy": {"replicas": 2}}, "deploy.replicas", "one container per service"),
        ({"deploy": {"resources": {"limits": {"memory": "1M"}}}}, "deploy.resources.limits.memory", "at least 4M"),
        ({"deploy": {"resources": {"limits": {"cpus": "0"}}}}, "deploy.resources.limits.cpus", "number of CPUs"),
        ({"deploy": {"resources": {"limits": {"cpus": True}}}}, "deploy.resources.limits.cpus", "number of CPUs"),
        ({"image": "reader"}, "image", "must name its registry"),
        ({"image": "r.example/a/../b"}, "image", "not host[:port]/repository"),
        ({"image": "r.example/a:b c"}, "image", "not host[:port]/repository"),
        ({"image": "r.example/reader:1"}, "image", "must be pinned"),
        ({"image": "r.example/reader@sha256:abc"}, "image", "sha256 and 64"),
        ({"build": "."}, "build", "the gateway does not build"),
        ({"command": []}, "command", "must not be empty"),
        ({"command": "a 'b"}, "command", "cannot be split"),
        ({"command": 5}, "command", "must be a list"),
        ({"command": ["$HOME"]}, "command[0]", "variables are not supported"),
        ({"environment": {"A": "${B}"}}, "environment.A", "variables are not supported"),
        ({"environment": ["A"]}, "environment.A", "has no value"),
        ({"environment": {"A": [1]}}, "environment.A", "must be a string, a number"),
        ({"environment": [1]}, "environment[0]", "KEY=value"),
        ({"environment": {"A B": "1"}}, "environment.A B", "must match"),
        ({"user": "a:b:c"}, "user", "must be a user"),
        ({"user": []}, "user", "must be a string, a number"),
        ({"working_dir": "srv"}, "working_dir", "absolute path"),
        ({"read_only": "yes"}, "read_only", "must be true or false"),
        ({"restart": "on-failure:3"}, "restart", "maximum number"),
        ({"restart": "sometimes"}, "restart", "must be 'no'"),
        ({"stop_signal": "SIGFOO"}, "stop_signal", "is not a signal"),
        ({"stop_grace_period": 10}, "stop_grace_period", "must be a duration"),
        ({"healthcheck": {}}, "healthcheck", "must have a test"),
        ({"healthcheck": {"test": ["echo"]}}, "healthcheck.test", "must begin with"),
        ({"healthcheck": {"test": ["CMD"]}}, "healthcheck.test", "must be ["),
        ({"healthcheck": {"test": "x", "interval": "0s"}}, "healthcheck.interval", "at least 100ms"),
        ({"healthcheck": {"test": "x", "retries": 0}}, "healthcheck.retries", "must be greater"),
        ({"volumes": ["/data"]}, "volumes[0]", "has no name"),
        ({"volumes": ["./a:/data"]}, "volumes[0]", "on your machine"),
        ({"volumes": ["a:/data:z"]}, "volumes[0]", "SOURCE:TARGET"),
        ({"volumes": ["a:/data"]}, "volumes[0]", "volume a is not declared"),
        ({"volumes": ["a:data"]}, "volumes[0].target", "absolute path"),
        ({"volumes": ["/a/../b:/data"]}, "volumes[0].source", "absolute path"),
        ({"volumes": ["/a:/run/esdk/x"]}, "volumes[0].target", "gateway's own"),
        ({"volumes": ["/a:/proc"]}, "volumes[0].target", "gateway's own"),
        ({"volumes": ["/a:/d", "/b:/d"]}, "volumes[1].target", "something else is mounted"),
        ({"volumes": [{"type": "npipe", "target": "/a"}]}, "volumes[0].type", "must be 'volume'"),
        ({"volumes": [{"type": "volume", "target": "/a"}]}, "volumes[0]", "must have one"),
        ({"volumes": [{"type": "volume", "source": "a/b", "target": "/a"}]}, "volumes[0].source", "must match"),
        ({"tmpfs": "/tmp:mode=777"}, "tmpfs[0]", "only size"),
        ({"devices": ["/etc/passwd"]}, "devices[0]", "below /dev"),
        ({"devices": ["/dev/../etc/passwd"]}, "devices[0]", "below /dev"),
        ({"devices": ["/dev/a:/dev/b"]}, "devices[0]", "same path"),
        ({"devices": ["/dev/a:/dev/a:r"]}, "devices[0]", "rwm"),
        ({"cap_add": ["net raw"]}, "cap_add[0]", "is not a capability"),
        ({"cap_add": ["ALL"]}, "cap_add", "name each"),
        ({"network_mode": "bridge"}, "network_mode", "must be 'none' or 'host'"),
        ({"depends_on": ["x"]}, "depends_on.x", "no such service"),
        ({"depends_on": ["reader"]}, "depends_on.reader", "itself depends on"),
        ({"depends_on": {"reader": {"condition": "service_healthy"}}}, "depends_on.reader", "has no healthcheck"),
        ({"x_esdk": {"serial": {"RS485-1": "read"}}}, "x-esdk.serial.RS485-1", "must be 'transact'"),
        ({"x_esdk": {"serial": {"a b": "transact"}}}, "x-esdk.serial.a b", "must match"),
        ({"x_esdk": {"gpio": {"DO1": "toggle"}}}, "x-esdk.gpio.DO1", "must be 'read' or 'write'"),
        ({"x_esdk": {"tags": {"publish": ["a/#/b"]}}}, "x-esdk.tags.publish[0]", "is not a tag pattern"),
        ({"x_esdk": {"system": ["reboot"]}}, "x-esdk.system[0]", "must be 'info' or 'time'"),
        ({"x_esdk": {"engine": "qemu"}}, "x-esdk.engine", "must be 'oci', 'docker', 'lxc' or 'simulated'"),
        ({"x_esdk": {"standby": True}}, "x-esdk.standby", "needs restart: always"),
        ({"x_esdk": {"uplink": {"window": "10ms"}}}, "x-esdk.uplink.window", "between 100ms and 1h"),
        ({"x_esdk": {"uplink": {"class": "A"}}}, "x-esdk.uplink.class", "must match"),
        ({"x_esdk": {"uplink": {"budget": "5M/day"}}}, "x-esdk.uplink.budget", "not supported yet"),
        ({"x_esdk": {"root": True}}, "x-esdk.root", "this key is not supported"),
        ({"x_esdk": {"settings": {"a": None}}}, "x-esdk.settings.a", "has no value"),
    ],
)  # fmt: skip
def test_a_fault_is_named_by_its_path(service: dict[str, Any], path: str, cause: str) -> None:
    found = refused(samples.manifest(**service))
    assert list(found) == [f"{R}.{path}"]
    assert cause in found[f"{R}.{path}"]


@pytest.mark.parametrize(
    ("rule", "path", "cause"),
    [
        ({"set": {"DI1": 1}}, "set.DI1", "x-esdk.gpio.DI1: write would allow it"),
        ({"set": {"DO9": 1}}, "set.DO9", "may not write DO9"),
        ({"set": {"DO1": 2}}, "set.DO1", "must be 0 or 1"),
        ({"set": {}}, "set", "at least 1"),
        ({"when": {"tag": "secret/x", "above": 1}}, "when.tag", "may not read secret/x"),
        ({"when": {"tag": "meter/#", "above": 1}}, "when.tag", "is not a tag"),
        ({"when": {"tag": "meter/p"}}, "when", "exactly one of above and below"),
        ({"when": {"tag": "meter/p", "above": 1, "below": 2}}, "when", "exactly one of above and below"),
        ({"when": {"tag": "meter/p", "above": "1"}}, "when.above", "must be a number"),
        ({"when": {"tag": "meter/p", "above": 1, "hysteresis": -1}}, "when.hysteresis", "greater than or equal"),
        ({"name": "No Name"}, "name", "must match"),
    ],
)
def test_a_rule_acts_with_its_services_grant_and_no_more(rule: dict[str, Any], path: str, cause: str) -> None:
    good = {"name": "r", "when": {"tag": "meter/p", "above": 1}, "set": {"DO1": 1}}
    esdk = {**samples.MANIFEST["services"]["reader"]["x-esdk"], "rules": [{**good, **rule}]}
    found = refused(samples.manifest(x_esdk=esdk))
    assert list(found) == [f"{R}.x-esdk.rules[0].{path}"]
    assert cause in next(iter(found.values()))


def test_all_faults_at_once() -> None:
    document = samples.manifest(sysctls=[1], privileged=True, image="x", restart="maybe", environment={"A": None})
    document |= {"networks": {}, "name": "NO"}
    document["services"]["other"] = {"volumes": ["/x"], "command": ["$a"]}
    assert sorted(refused(document)) == [
        "name", "networks", "services.other.command[0]", "services.other.image", "services.other.volumes[0]",
        f"{R}.environment.A", f"{R}.image", f"{R}.privileged", f"{R}.restart", f"{R}.sysctls",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([], ""), (None, ""), ("x", ""), ({}, "name"), ({"name": "a", "services": {}}, "services"),
        ({"name": "a", "services": []}, "services"), ({"name": "a", "services": {"s": None}}, "services.s"),
        ({"name": "a", "services": {"S": {"image": samples.IMAGE}}}, "services.S"),
        ({**samples.MANIFEST, "volumes": {"v": {"external": True}}}, "volumes.v.external"),
    ],
)  # fmt: skip
def test_bad_documents(document: Any, path: str) -> None:
    assert path in refused(document)


def test_paths_begin_where_the_manifest_stands() -> None:
    assert list(refused(samples.manifest(sysctls=[]), at=("apps", "x"))) == [f"apps.x.{R}.sysctls"]


def test_pin_makes_of_a_developers_file_what_a_gateway_accepts() -> None:
    plain = "registry.example/apps/meter-reader:1.2.0"
    document = samples.manifest(image=plain, build={"context": "."}, labels=["a=b"])
    document["services"]["reader"]["x-foreign"] = {"a": "$x"}
    document["x-common"] = {"ports": 1}
    assert list(refused(document)) == [f"{R}.build", f"{R}.image"]
    assert manifest.images(document) == {"reader": plain}
    pinned = manifest.pin(document, {plain: samples.IMAGE})
    assert pinned == samples.MANIFEST
    assert manifest.pin(pinned, {}) == pinned
    with pytest.raises(InvalidInput, match="1 problem"):
        manifest.pin(document, {})


def test_the_digest_is_of_what_runs() -> None:
    one = manifest.parse(samples.manifest(labels={"a": "1"}, stop_grace_period="60s"))
    two = manifest.parse({**samples.manifest(stop_grace_period="1m"), "x-esdk-version": "9"})
    assert one.digest == two.digest
    assert one.digest != manifest.parse(samples.manifest(stop_grace_period="61s")).digest


def test_load_needs_a_mapping_of_bounded_size() -> None:
    for text in (b"- a", b"", b"x" * (manifest.MAX_MANIFEST_BYTES + 1)):
        with pytest.raises(InvalidInput, match="cannot read the manifest"):
            manifest.load(text)
    assert manifest.load(canonical(samples.MANIFEST)) == samples.MANIFEST
