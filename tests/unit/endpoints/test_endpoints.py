"""Endpoints are real sockets in real directories."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from gateway.endpoints import Endpoints, EndpointSpec
from gateway.model.app import Grant

SPEC = EndpointSpec("meter.reader.1", "meter", "reader", 1, "1.0", Grant(gpio={"DO1": "write"}), {"unit": "7"})


def _connect(directory: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(directory / "esdk.sock"))
    return client


def test_a_caller_may_connect_before_anybody_serves(tmp_path: Path) -> None:
    async def scenario() -> None:
        endpoints = Endpoints(tmp_path)
        directory = endpoints.bind(SPEC)
        client = _connect(directory)
        client.sendall(b"early")
        change = await anext(endpoints.changes())
        assert change.bound
        served, _ = change.endpoint.socket.accept()
        assert served.recv(10) == b"early"
        client.close()
        served.close()
        endpoints.close()

    asyncio.run(scenario())


def test_the_next_agent_binds_in_the_same_directory(tmp_path: Path) -> None:
    async def scenario() -> None:
        first = Endpoints(tmp_path)
        directory = first.bind(SPEC)
        inode = directory.stat().st_ino
        first.close()
        second = Endpoints(tmp_path)
        assert second.recover() == [SPEC]
        assert directory.stat().st_ino == inode
        _connect(directory).close()
        second.close()

    asyncio.run(scenario())


def test_release_ends_streams_and_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        endpoints = Endpoints(tmp_path)
        endpoints.bind(SPEC)
        bound = await anext(endpoints.changes())
        endpoints.release(SPEC.container)
        released = await anext(endpoints.changes())
        assert not released.bound
        assert released.endpoint is bound.endpoint
        assert bound.endpoint.released.is_set()
        bound.endpoint.socket.close()
        assert [path.name for path in tmp_path.rglob("*")] == [".records"]
        endpoints.release(SPEC.container)
        endpoints.close()

    asyncio.run(scenario())


def test_a_damaged_record_costs_its_endpoint_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        first = Endpoints(tmp_path)
        first.bind(SPEC)
        first.close()
        (tmp_path / ".records" / "other.app.3").write_text("{")
        second = Endpoints(tmp_path)
        assert second.recover() == [SPEC]
        assert not (tmp_path / ".records" / "other.app.3").exists()
        second.close()

    asyncio.run(scenario())


def test_an_endpoint_of_a_newer_agent_is_left_for_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        first = Endpoints(tmp_path)
        directory = first.bind(SPEC)
        inode = directory.stat().st_ino
        first.close()
        record = tmp_path / ".records" / SPEC.container
        newer = record.read_bytes().replace(b'"schema":1', b'"schema":2')
        record.write_bytes(newer)
        second = Endpoints(tmp_path)
        assert second.recover() == []
        assert directory.stat().st_ino == inode, "its container has mounted it"
        assert record.read_bytes() == newer
        second.close()
        second.release(SPEC.container)  # with the container it goes
        assert not directory.exists()

    asyncio.run(scenario())


def test_a_long_run_directory_is_no_obstacle(tmp_path: Path) -> None:
    async def scenario() -> None:
        endpoints = Endpoints(tmp_path / ("x" * 120))
        assert (endpoints.bind(SPEC) / "esdk.sock").is_socket()
        endpoints.close()

    asyncio.run(scenario())
