"""Our words in the API's and back: requests, inspections, output streams."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.engines.base import ContainerSpec, ContainerState, ContainerStatus, HostContainer, LogLine, Mount
from gateway.engines.docker.container import LoadedImage, refuse_unsupported, request
from gateway.engines.docker.inspection import state_of, status_of, time_ns
from gateway.engines.docker.logs import LineParser, frames
from gateway.engines.docker.networks import Bridges, Membership, decide, settings
from gateway.errors import Corrupted, NotSupported, Unavailable
from gateway.model.app import Limits, TmpfsMount
from gateway.model.image import ImageConfig
from gateway.model.network import Destination, Network, Ports, PublishedPort, Reach, parse_destination

SPEC = ContainerSpec("app", "main", 1, "sha256:1", "image")
CONFIG = ImageConfig(entrypoint=("/init",), command=("serve",))


IMAGE = LoadedImage("localhost/fieldgate:1")


def body(spec: ContainerSpec, image: LoadedImage = IMAGE) -> dict[str, Any]:
    membership = decide(spec, "docker")
    network = settings(spec, membership, Bridges())
    return request(spec, image, CONFIG, network, "fieldgate", "boot", 64 << 10)


def test_defaults_are_strict() -> None:
    made = body(SPEC)
    host = made["HostConfig"]
    assert (made["Entrypoint"], made["Cmd"]) == (["/init", "serve"], [])
    assert host["RestartPolicy"] == {"Name": "no"}
    assert (host["NetworkMode"], host["CapDrop"], host["SecurityOpt"]) == ("none", ["ALL"], ["no-new-privileges"])
    assert len(host["CapAdd"]) == 10
    assert "NET_RAW" not in host["CapAdd"]
    assert host["LogConfig"]["Config"] == {"max-size": "32768", "max-file": "2"}
    assert not {"User", "WorkingDir", "Healthcheck"} & set(made)
    assert not {"Memory", "NanoCpus"} & set(host)


def test_everything_that_is_asked_for_is_said() -> None:
    spec = replace(
        SPEC, entrypoint=("/x",), environment={"A": "1"}, user="7:8", working_dir="/w", read_only=True,
        stop_signal="SIGINT", limits=Limits(0.5, 64 << 20, 9), mounts=(Mount(Path("/a:b"), "/c", True),),
        tmpfs=(TmpfsMount("/t", 4096),), devices=("/dev/null",), cap_add=("NET_RAW",), cap_drop=("ALL",),
        host_network=True, engine="docker",
    )  # fmt: skip
    refuse_unsupported(spec, "docker")
    made = body(spec, LoadedImage("i", has_probe=True))
    host = made["HostConfig"]
    assert made["Healthcheck"] == {"Test": ["NONE"]}
    assert (made["Entrypoint"], made["Env"], made["User"], made["WorkingDir"]) == (["/x"], ["A=1"], "7:8", "/w")
    assert (host["NanoCpus"], host["PidsLimit"]) == (5 * 10**8, 9)
    assert host["Memory"] == host["MemorySwap"] == 64 << 20
    assert host["Mounts"][0]["Source"] == "/a:b"
    assert host["Mounts"][0]["ReadOnly"] is True
    assert host["Tmpfs"] == {"/t": "rw,nosuid,nodev,mode=1777,size=4096"}
    assert host["Devices"][0]["PathOnHost"] == "/dev/null"
    assert (host["CapAdd"], host["ReadonlyRootfs"], host["NetworkMode"]) == (["NET_RAW"], True, "host")


def test_what_it_cannot_do_is_refused_by_name() -> None:
    with pytest.raises(NotSupported, match="engine docker does not support `host`"):
        refuse_unsupported(replace(SPEC, host=HostContainer("a.b.1", 7)), "docker")
    with pytest.raises(NotSupported, match="engine docker does not support `storage_opt`"):
        refuse_unsupported(replace(SPEC, limits=Limits(root_bytes=1 << 20)), "docker")

    @dataclass(frozen=True, slots=True)
    class Newer(ContainerSpec):
        flying: bool = False

    newer = Newer("app", "main", 1, "sha256:1", "image")
    refuse_unsupported(newer, "docker")
    with pytest.raises(NotSupported, match="engine docker does not support `flying`"):
        refuse_unsupported(replace(newer, flying=True), "docker")


def inspected(**state: Any) -> dict[str, Any]:
    labels = body(SPEC)["Labels"]
    return {"Name": "/x", "Config": {"Labels": labels}, "State": {"Status": "exited", "ExitCode": 0, **state}}


def test_inspections() -> None:
    running = inspected(
        Status="running", Pid=7, StartedAt="2026-11-25T07:54:09.785063194Z", FinishedAt="0001-01-01T00:00:00Z"
    )
    assert status_of(running) == ContainerStatus(
        "app", "main", 1, "sha256:1", ContainerState.RUNNING, pid=7, started_ns=1795593249785063194
    )
    dead = status_of(inspected(ExitCode=137, OOMKilled=True, Pid=0, FinishedAt="2026-11-25T08:54:09+01:00"))
    assert (dead.state, dead.exit_code, dead.oom_killed) == (ContainerState.EXITED, 137, True)
    assert dead.finished_ns == 1795593249 * 10**9
    assert [state_of(word) for word in ("configured", "paused", "dead")] == ["created", "running", "exited"]
    assert (time_ns(""), time_ns("0001-01-01T00:00:00Z"), time_ns("soon")) == (0, 0, 0)


@pytest.mark.parametrize("document", [{}, {"Config": {"Labels": None}, "State": {}}, inspected(ExitCode="x")])
def test_inspections_of_something_else(document: dict[str, Any]) -> None:
    with pytest.raises(Corrupted, match="cannot understand container"):
        status_of(document)


def frame(kind: int, data: bytes) -> bytes:
    return struct.pack(">B3xI", kind, len(data)) + data


def lines(stream: bytes, size: int) -> list[LogLine]:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(stream), size):
            yield stream[start : start + size]

    async def main() -> list[LogLine]:
        parser = LineParser()
        found = [line async for name, data in frames(pieces()) for line in parser.feed(name, data)]
        return [*found, *parser.end()]

    return asyncio.run(main())


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_lines_are_put_together_per_stream(size: int) -> None:
    stream = b"".join(
        [
            frame(1, b"T1 begun "), frame(2, b"T2 other\n"), frame(1, b"T3 and ended\n"), frame(1, b"T4 \nT5 two\n"),
            frame(2, "T6 ü\x0bü\n".encode()), frame(1, b"T7 last words"),
        ]
    )  # fmt: skip
    assert lines(stream, size) == [
        LogLine("T2", "stderr", "other"),
        LogLine("T1", "stdout", "begun and ended"),
        LogLine("T4", "stdout", ""),
        LogLine("T5", "stdout", "two"),
        LogLine("T6", "stderr", "ü\x0bü"),
        LogLine("T7", "stdout", "last words"),
    ]


def test_a_damaged_stream_ends() -> None:
    for stream in (b"\x09" + bytes(7), b"\x01\0\0\0\xff\xff\xff\xff"):
        with pytest.raises(Unavailable):
            lines(stream, 4096)


INNER, OUTER = Membership("bridge", inner=True), Membership("bridge", outer=True)


@pytest.mark.parametrize(
    ("network", "siblings", "membership"),
    [
        (None, (), Membership()),
        (Network(), (), Membership()),
        (Network(expose=(Ports(1, 2),)), (), Membership()),
        (Network(), ("store",), INNER),
        (Network(egress=(Destination("gateway"),)), (), INNER),
        (Network(egress=(Destination("any"),)), (), OUTER),
        (Network((PublishedPort(80, 8080),), egress=(Destination("any"),)), ("s",), Membership("bridge", True, True)),
    ],
)
def test_networks_of_the_daemon(network: Network | None, siblings: tuple[str, ...], membership: Membership) -> None:
    assert decide(replace(SPEC, network=network, siblings=siblings), "docker") == membership
    assert decide(replace(SPEC, host_network=True), "docker") == Membership("host")


@pytest.mark.parametrize(
    ("network", "key"),
    [
        (Network(reach=(Reach("a", "b", 1),)), "x-esdk.network.reach"),
        (Network(egress=(parse_destination("192.0.2.1:443"),)), "x-esdk.network.egress"),
        (Network(egress=(parse_destination("any:443"),)), "x-esdk.network.egress"),
        (Network(ports=(PublishedPort(80, 8080),)), "ports"),
    ],
)
def test_networks_that_a_daemon_cannot_do(network: Network, key: str) -> None:
    with pytest.raises(NotSupported, match=f"engine docker does not support `{key}`"):
        decide(replace(SPEC, network=network), "docker")


def test_settings_of_bridges() -> None:
    ports = (PublishedPort(80, 8080), PublishedPort(53, 53, "udp", "127.0.0.1"))
    hosts = {"box": "host-gateway", "plc": "192.0.2.7"}
    network = Network(ports, egress=(Destination("any"),), dns=("192.0.2.53",), extra_hosts=hosts)
    made = settings(replace(SPEC, network=network), OUTER, Bridges(("n", "n.out"), "172.20.0.1"))
    assert made["NetworkingConfig"] == {"EndpointsConfig": {"n": {"Aliases": ["main"]}}}
    assert made["ExposedPorts"] == {"8080/tcp": {}, "53/udp": {}}
    assert made["HostConfig"] == {
        "NetworkMode": "n",
        "ExtraHosts": ["gateway:172.20.0.1", "box:172.20.0.1", "plc:192.0.2.7"],
        "Dns": ["192.0.2.53"],
        "PortBindings": {
            "8080/tcp": [{"HostIp": "", "HostPort": "80"}], "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "53"}],
        },
    }  # fmt: skip
