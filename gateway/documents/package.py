"""An APP package's `app.toml`: read, checked with all faults at once, and turned into the Compose document to deploy.

A package is what lives in another container (docs/hosted-apps.md): an OCI artifact with one layer of files, and with
`app.toml` in its configuration. `expand` is what both `deploy` commands do with it, so that a gateway sees signed
Compose documents only. The keys of a service are Compose's, but for `limits` and `esdk`, which need not be nested as
deep, and a dollar sign, which is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

from pydantic import Field

from gateway.documents import manifest
from gateway.documents.checks import AppName, Model, check, reject
from gateway.documents.manifest_hosted import HostName
from gateway.documents.syntax import parse_json, parse_toml
from gateway.errors import InvalidInput, Problem

FILE: Final = "app.toml"
MAX_TOML_BYTES: Final = 64 << 10
MAX_CONFIG_BYTES: Final = 256 << 10
RESTART: Final = "unless-stopped"
_NESTED: Final = {"limits": "deploy.resources.limits", "esdk": "x-esdk"}


class Service(Model):
    """Which keys there are; what is in them is checked as the Compose document that comes of it."""

    command: Any
    environment: Any = None
    user: Any = None
    working_dir: Any = None
    read_only: Any = None
    restart: Any = RESTART
    stop_signal: Any = None
    stop_grace_period: Any = None
    healthcheck: Any = None
    volumes: Any = None
    tmpfs: Any = None
    devices: Any = None
    depends_on: Any = None
    limits: dict[str, Any] = {}
    esdk: dict[str, Any] = {}


class Package(Model):
    name: AppName
    version: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
    host: HostName | None = None
    """Where it lives unless whoever deploys it says otherwise."""
    architecture: str = "any"
    services: Annotated[dict[AppName, Service], Field(min_length=1, max_length=manifest.MAX_SERVICES)]


def app_toml(config: bytes) -> bytes:
    """The `app.toml` in the configuration blob of an artifact. InvalidInput: it is not a package."""
    document = parse_json(config, "the package's configuration", MAX_CONFIG_BYTES)
    text = document.get("app") if isinstance(document, dict) else None
    if not isinstance(text, str):
        raise InvalidInput(f"cannot use the package: its configuration holds no {FILE}; is it an image?")
    return text.encode()


def expand(text: bytes, image: str, host: str = "") -> dict[str, Any]:
    """The Compose document of the package `image`. InvalidInput with every fault, by its path in `app.toml`.

    `host`: `app/service` that it is to live in, instead of what `app.toml` says.
    """
    document = parse_toml(text, FILE, MAX_TOML_BYTES)
    problems: list[Problem] = []
    try:
        check(Package, document, FILE)
    except InvalidInput as failure:
        problems.extend(failure.problems)
    if not (host or document.get("host")):
        problems.append(Problem("host", "is missing: which container it lives in, as APP/SERVICE (or --host)"))
    compose = _compose(document, image, host or document.get("host"))
    try:
        manifest.parse(compose, at_gateway=False)
    except InvalidInput as failure:
        known = {problem.path for problem in problems}
        problems.extend(p for p in _in_toml(failure) if p.path not in known and not p.path.startswith("volumes"))
    if problems:
        raise reject(FILE, problems)
    return compose


def _compose(document: dict[str, Any], image: str, host: Any) -> dict[str, Any]:
    """Whatever is of the right form becomes a part of it; the rest has been found already."""
    services = document.get("services")
    made = {
        name: _service(service, image, host)
        for name, service in (services.items() if isinstance(services, dict) else ())
        if isinstance(service, dict)
    }
    names = {name for service in made.values() for name in _volumes(service.get("volumes"))}
    return {
        "name": document.get("name"),
        "x-esdk-version": str(document.get("version")),
        "services": made,
        "volumes": {name: {} for name in sorted(names)},
    }


def _service(service: dict[str, Any], image: str, host: Any) -> dict[str, Any]:
    kept = {key: value for key, value in service.items() if key in Service.model_fields and key not in _NESTED}
    esdk, limits = service.get("esdk"), service.get("limits")
    made = {
        **kept,
        **({"deploy": {"resources": {"limits": limits}}} if isinstance(limits, dict) else {}),
        "x-esdk": {**(esdk if isinstance(esdk, dict) else {}), **({"host": host} if host else {})},
    }
    return {"image": image, "restart": RESTART, **_escaped(made)}


def _escaped(value: Any) -> Any:
    """Compose's `$$` for each `$`: there are no variables in `app.toml`."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list) else value


def _volumes(entries: Any) -> Iterator[str]:
    """Names of the volumes that are mounted, in both of Compose's forms."""
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("type") == "volume" and isinstance(entry.get("source"), str):
            yield entry["source"]
        elif isinstance(entry, str) and ":" in entry and not entry.startswith(("/", ".", "~")):
            yield entry.partition(":")[0]


def _in_toml(failure: InvalidInput) -> Iterator[Problem]:
    """Its problems by their paths in `app.toml`."""
    for problem in failure.problems or (Problem("", failure.message),):
        path = problem.path
        for short, long in _NESTED.items():
            path = path.replace(f".{long}", f".{short}", 1)
        yield Problem(path, problem.message)
