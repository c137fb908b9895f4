"""Properties of the manifest parser: arbitrary documents end in an APP or in InvalidInput with paths, nothing else."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.documents import manifest
from gateway.documents.manifest_service import Service
from gateway.errors import InvalidInput
from gateway.model.app import App
from gateway.model.wire import from_wire, to_wire
from tests.unit.documents import samples
from tests.unit.documents.test_syntax import VALUES

KEYS = [field.alias or name for name, field in Service.model_fields.items()]
ESDK_KEYS = ["serial", "gpio", "tags", "system", "uplink", "rules", "settings"]
TEXTS = st.sampled_from(
    [
        "",
        "a:/b",
        "/a:/b:ro",
        "1s",
        "64M",
        "$x",
        "RS485-1",
        "DO1",
        "write",
        "meter/#",
        "/",
        "..",
        "\ud800",
        "\0",
        "é" * 99,
    ]
)
LIKELY = st.recursive(
    TEXTS | VALUES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "source", "target", "test", "limits", "resources", "DO1", "a"]), inner
        )
    ),
    max_leaves=8,
)


def outcome(document: Any) -> App | None:
    try:
        return manifest.parse(document)
    except InvalidInput as failure:
        assert failure.message.startswith(("cannot accept the manifest: ", "cannot read the manifest: "))  # noqa: PT017
        assert all(problem.message for problem in failure.problems)  # noqa: PT017
        return None


@given(st.one_of(LIKELY, st.dictionaries(st.sampled_from(["name", "services", "volumes", "x-a"]), LIKELY)))
def test_arbitrary_documents_never_crash(document: Any) -> None:
    outcome(document)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(KEYS), LIKELY, max_size=4), st.dictionaries(st.sampled_from(ESDK_KEYS), LIKELY))
def test_arbitrary_services_never_crash(service: dict[str, Any], esdk: dict[str, Any]) -> None:
    accepted = outcome(samples.manifest(**{"x-esdk": esdk, **service}))
    if accepted is not None:
        assert from_wire(App, json.loads(json.dumps(to_wire(accepted)))) == accepted


@given(st.text(max_size=200))
def test_arbitrary_text_never_crashes(text: str) -> None:
    try:
        manifest.load(text.encode(errors="surrogatepass"))
    except InvalidInput as failure:
        assert failure.message.startswith("cannot read the manifest: ")  # noqa: PT017


NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True)
GOOD_SERVICES = st.fixed_dictionaries(
    {"image": st.just(samples.IMAGE)},
    optional={
        "command": st.lists(st.text("ab -'é", min_size=1, max_size=5), min_size=1, max_size=3),
        "environment": st.dictionaries(
            st.from_regex(r"[A-Z_]{1,5}", fullmatch=True), st.integers(0, 9) | st.booleans()
        ),
        "read_only": st.booleans(),
        "restart": st.sampled_from(["no", "always", "on-failure", "unless-stopped"]),
        "stop_grace_period": st.integers(0, 600).map(lambda s: f"{s}s"),
        "deploy": st.integers(4, 512).map(lambda m: {"resources": {"limits": {"memory": f"{m}M"}}}),
        "tmpfs": st.lists(st.sampled_from(["/tmp", "/cache:size=1M"]), unique=True),
        "x-esdk": st.dictionaries(
            st.just("gpio"), st.dictionaries(st.sampled_from(["DI1", "DO1"]), st.sampled_from(["read", "write"]))
        ),
    },
)


@given(NAMES, st.dictionaries(NAMES, GOOD_SERVICES, min_size=1, max_size=3))
def test_good_manifests_are_accepted_and_stay_the_same(name: str, services: dict[str, Any]) -> None:
    document = {"name": name, "services": services}
    accepted = manifest.parse(document)
    assert [service.name for service in accepted.services] == list(services)
    assert from_wire(App, to_wire(accepted)) == accepted
    assert manifest.pin(document, {}) == document
