"""The registry client against a scripted server: authorisation, redirects, ranges, lies, limits."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from gateway.errors import Corrupted, FieldgateError, NotFound, NotPermitted, NotSupported, Unavailable
from gateway.images.download import Download
from gateway.images.manifest import MAX_MANIFEST_BYTES, Descriptor
from gateway.images.registry import Registry
from gateway.images.transport import Target, permits_plain
from tests.unit.images.scripted import Answer, Scripted, Seen, scripted

BODY = b'{"layers": []}'
DIGEST = f"sha256:{hashlib.sha256(BODY).hexdigest()}"


def client(site: Scripted, *more: str, password: str = "") -> Registry:
    return Registry(site.host, [site.host, *more], (lambda _: ("user", password)) if password else None)


def test_bearer_token_with_credentials() -> None:
    def answer(request: Seen) -> Answer:
        if request.path.startswith("/token"):
            return 200, {}, b'{"token": "abc"}'
        if request.headers.get("authorization") == "Bearer abc":
            return 200, {}, BODY
        return 401, {"WWW-Authenticate": f'Bearer realm="http://{site.host}/token",service="s"'}, b""

    with scripted(answer) as site:
        registry = client(site, password="secret")
        assert registry.manifest("a/b", DIGEST) == BODY
        assert registry.manifest("a/b", DIGEST) == BODY
    tokens = [request for request in site.seen if request.path.startswith("/token")]
    assert [request.path for request in tokens] == ["/token?scope=repository%3Aa%2Fb%3Apull&service=s"]
    assert tokens[0].headers["authorization"] == "Basic " + base64.b64encode(b"user:secret").decode()


def test_basic_and_refused() -> None:
    def answer(request: Seen) -> Answer:
        if request.headers.get("authorization") == "Basic " + base64.b64encode(b"user:right").decode():
            return 200, {}, BODY
        return 401, {"WWW-Authenticate": "Basic realm=x"}, b""

    with scripted(answer) as site:
        assert client(site, password="right").manifest("a", DIGEST) == BODY
        with pytest.raises(NotPermitted, match="refuses it"):
            client(site, password="wrong").manifest("a", DIGEST)
        with pytest.raises(NotPermitted, match="asks for credentials"):
            client(site).manifest("a", DIGEST)


def test_authorization_never_reaches_another_host() -> None:
    with scripted(lambda _: (200, {}, BODY)) as storage:

        def answer(request: Seen) -> Answer:
            if "authorization" in request.headers:
                return 307, {"Location": f"http://{storage.host}/blob?signature=1"}, b""
            return 401, {"WWW-Authenticate": "Basic realm=x"}, b""

        with scripted(answer) as site:
            assert client(site, storage.host, password="secret").small_blob("a", DIGEST, len(BODY)) == BODY
            with pytest.raises(NotPermitted, match="plain_http_registries"):
                client(site, password="secret").small_blob("a", DIGEST, len(BODY))
        assert [request.path for request in storage.seen] == ["/blob?signature=1"]
        assert "authorization" not in storage.seen[0].headers


def test_redirects_are_counted_and_checked() -> None:
    with scripted(lambda _: (302, {"Location": "/again"}, b"")) as site, pytest.raises(Unavailable, match="redirects"):
        client(site).manifest("a", DIGEST)
    assert len(site.seen) < 10
    for target in ("ftp://x/y", "http://user:pass@127.0.0.1/", "http://[::1/", "http://127.0.0.1:99999/"):
        with (
            scripted(lambda _, target=target: (302, {"Location": target}, b"")) as site,  # type: ignore[misc]
            pytest.raises(Corrupted, match="cannot follow"),
        ):
            client(site).manifest("a", DIGEST)


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, NotFound), (403, NotPermitted), (500, Unavailable), (429, Unavailable), (418, NotSupported)],
)
def test_statuses(status: int, error: type[FieldgateError]) -> None:
    with scripted(lambda _: (status, {}, b"")) as site, pytest.raises(error, match=f"{DIGEST}"):
        client(site).manifest("a", DIGEST)


def test_lies_and_limits() -> None:
    with scripted(lambda _: (200, {}, BODY + b" ")) as site, pytest.raises(Corrupted, match="sent bytes with digest"):
        client(site).manifest("a", DIGEST)
    with (
        scripted(lambda _: (200, {}, b" " * (MAX_MANIFEST_BYTES + 1))) as site,
        pytest.raises(Corrupted, match="longer than"),
    ):
        client(site).manifest("a", DIGEST)
    with (
        scripted(lambda _: (200, {"Content-Length": "99"}, BODY)) as site,
        pytest.raises(Unavailable, match=r"cut|more"),
    ):
        client(site).manifest("a", DIGEST)
    many = {f"X-{number}": "y" for number in range(200)}
    with scripted(lambda _: (200, many, BODY)) as site, pytest.raises(Unavailable, match="headers"):
        client(site).manifest("a", DIGEST)


BLOB = bytes(range(256)) * 40
LAYER = Descriptor(f"sha256:{hashlib.sha256(BLOB).hexdigest()}", len(BLOB))


def test_a_server_without_ranges_loses_nothing(tmp_path: Path) -> None:
    """It cuts at 6000, then ignores the range and cuts at 3000, then sends all: the file only ever grows."""
    cuts = [6000, 3000, len(BLOB)]
    download = Download(tmp_path / "blob", LAYER)
    offsets = []
    with scripted(lambda _: (200, {"Content-Length": str(len(BLOB))}, BLOB[: cuts.pop(0)])) as site:
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"dropped|more expected|cannot read"):
                download.attempt(client(site), "a")
            offsets.append(download.offset)
        download.attempt(client(site), "a")
    assert offsets == [6000, 6000]
    assert [request.headers.get("range") for request in site.seen] == [None, "bytes=6000-", "bytes=6000-"]
    assert (tmp_path / "blob").read_bytes() == BLOB


@pytest.mark.parametrize("content_range", ["", "bytes 0-9/10", "bytes 4-9/10", "nonsense"])
def test_a_wrong_content_range_is_not_appended(tmp_path: Path, content_range: str) -> None:
    (tmp_path / "blob").write_bytes(BLOB[:5000])
    with (
        scripted(lambda _: (206, {"Content-Range": content_range}, BLOB[5000:])) as site,
        pytest.raises(Unavailable, match="Content-Range"),
    ):
        Download(tmp_path / "blob", LAYER).attempt(client(site), "a")
    assert (tmp_path / "blob").read_bytes() == BLOB[:5000]


def test_resumed_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(BLOB[:5000])
    download = Download(tmp_path / "blob", LAYER)
    with scripted(lambda _: (206, {"Content-Range": "bytes 5000-10239/10240"}, BLOB[5000:])) as site:
        download.attempt(client(site), "a")
    assert (download.offset, download.received) == (len(BLOB), len(BLOB) - 5000)


@pytest.mark.parametrize("body", [BLOB + b"x", BLOB[:-1]])
def test_another_length_is_refused(tmp_path: Path, body: bytes) -> None:
    with scripted(lambda _: (200, {}, body)) as site, pytest.raises(Corrupted, match="bytes, not 10240"):
        Download(tmp_path / "blob", LAYER).attempt(client(site), "a")


def test_other_bytes_are_thrown_away(tmp_path: Path) -> None:
    with scripted(lambda _: (200, {}, BLOB[::-1])) as site, pytest.raises(Corrupted, match="another digest"):
        Download(tmp_path / "blob", LAYER).attempt(client(site), "a")
    assert (tmp_path / "blob").stat().st_size == 0


def test_plain_http_needs_permission() -> None:
    assert permits_plain(["127.0.0.1:*"], "127.0.0.1:5000")
    assert permits_plain(["*.lan"], "Registry.lan:5000")
    assert not permits_plain(["127.0.0.1"], "127.0.0.10:5000")
    assert not permits_plain([], "localhost")
    with scripted(lambda _: (200, {}, BODY)) as site, pytest.raises(NotPermitted, match="without TLS"):
        Registry(site.host, []).manifest("a", DIGEST)
    assert site.seen == []


def test_an_aborted_client_stays_aborted() -> None:
    with scripted(lambda _: (200, {}, BODY)) as site:
        registry = client(site)
        registry.abort()
        with pytest.raises(Unavailable, match="cancelled"):
            registry.manifest("a", DIGEST)


def test_targets() -> None:
    assert Target.parse("https://a.b:1/c?d=e") == Target("https", "a.b:1", "/c?d=e")
