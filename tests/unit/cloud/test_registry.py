"""Tags to digests, against a small registry on the loopback."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cloud.registry import MAX_MANIFEST_BYTES, package, pinned
from gateway.errors import FieldgateError, InvalidInput, NotFound, NotPermitted, Unavailable

MANIFEST = b'{"schemaVersion": 2}'
DIGEST = "sha256:" + hashlib.sha256(MANIFEST).hexdigest()
CONFIG = b'{"app": "name = 1"}'
CONFIG_DIGEST = "sha256:" + hashlib.sha256(CONFIG).hexdigest()
PACKAGE = b'{"config": {"digest": "%s"}}' % CONFIG_DIGEST.encode()
PACKAGE_DIGEST = "sha256:" + hashlib.sha256(PACKAGE).hexdigest()
ANSWERS = {
    "/v2/apps/tool/manifests/1.0": (200, PACKAGE, ""),
    f"/v2/apps/tool/manifests/{PACKAGE_DIGEST}": (200, PACKAGE, ""),
    f"/v2/apps/tool/blobs/{CONFIG_DIGEST}": (200, CONFIG, ""),
    "/v2/apps/swapped/manifests/1.0": (200, PACKAGE, ""),
    f"/v2/apps/swapped/blobs/{CONFIG_DIGEST}": (200, CONFIG + b" ", ""),
    f"/v2/apps/other/manifests/{PACKAGE_DIGEST}": (200, MANIFEST, ""),
    "/v2/apps/reader/manifests/1.0": (200, MANIFEST, ""),
    "/v2/apps/reader/manifests/latest": (200, MANIFEST, ""),
    "/v2/apps/lying/manifests/1.0": (200, MANIFEST, "sha256:" + "0" * 64),
    "/v2/apps/html/manifests/1.0": (200, b"<html>", ""),
    "/v2/apps/huge/manifests/1.0": (200, b" " * (MAX_MANIFEST_BYTES + 1), ""),
    "/v2/apps/private/manifests/1.0": (401, b"", ""),
    "/v2/apps/secret/manifests/1.0": (403, b"", ""),
    "/v2/apps/broken/manifests/1.0": (500, b"", ""),
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body, digest = ANSWERS.get(self.path, (404, b"", ""))
        if "application/vnd.oci.image.manifest.v1+json" not in self.headers["Accept"]:
            status, body = 406, b""
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Bearer realm="http://elsewhere/token",service="x"')
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def host() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("image", "tag"), [("apps/reader:1.0", "1.0"), ("apps/reader", "latest"), ("apps/lying:1.0", "1.0")]
)
def test_the_digest_is_of_the_bytes_that_came(host: str, image: str, tag: str) -> None:
    repository = image.partition(":")[0]
    assert pinned(f"{host}/{image}", [host]) == f"{host}/{repository}:{tag}@{DIGEST}"


def test_a_pinned_image_needs_no_registry() -> None:
    image = f"registry.invalid/apps/reader:1.0@{DIGEST}"
    assert pinned(image) == image


def test_a_package_comes_with_its_configuration(host: str) -> None:
    wanted = f"{host}/apps/tool:1.0@{PACKAGE_DIGEST}"
    assert package(f"{host}/apps/tool:1.0", [host]) == (wanted, CONFIG)
    assert package(wanted, [host]) == (wanted, CONFIG)
    for image, kind, words in (
        ("apps/reader:1.0", InvalidInput, "no package"),
        ("apps/swapped:1.0", Unavailable, "not the configuration"),
        (f"apps/other@{PACKAGE_DIGEST}", Unavailable, "sent another one"),
    ):
        with pytest.raises(kind, match=words):
            package(f"{host}/{image}", [host])


@pytest.mark.parametrize(
    ("image", "kind", "words"),
    [
        ("apps/none:1.0", NotFound, "does not have it"),
        ("apps/private:1.0", NotPermitted, "wants credentials"),
        ("apps/secret:1.0", NotPermitted, "HTTP 403"),
        ("apps/broken:1.0", Unavailable, "HTTP 500"),
        ("apps/html:1.0", Unavailable, "no manifest"),
        ("apps/huge:1.0", InvalidInput, "more than"),
    ],
)
def test_what_goes_wrong_is_said(host: str, image: str, kind: type[FieldgateError], words: str) -> None:
    with pytest.raises(kind, match=words):
        pinned(f"{host}/{image}", [host])


def test_plain_http_must_be_permitted_by_name(host: str) -> None:
    with pytest.raises(Unavailable, match="--plain-http") as caught:
        pinned(f"{host}/apps/reader:1.0", ["localhost"])
    assert host in caught.value.hint


def test_nobody_there() -> None:
    with pytest.raises(Unavailable, match="refused"):
        pinned("127.0.0.1:9/apps/reader:1.0", ["127.0.0.1:9"])
