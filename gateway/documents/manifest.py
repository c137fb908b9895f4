"""The APP manifest: a Compose file, read, checked with all faults at once, and turned into `model.app.App`.

`load` reads YAML or JSON, `parse` checks it and builds the APP, `pin` makes of a developer's file what a gateway
accepts: images by digest, no `build`. docs/app-manifest.md lists every key. Variables (`${NAME}`) are refused, since
the gateway has no environment to take them from; `$$` is a dollar sign, as in Compose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import Field, model_validator

from gateway.documents import manifest_forms as forms
from gateway.documents.checks import AppName, Model, Path, Text, VolumeName, check, faults, path_text
from gateway.documents.manifest_hosted import bad_hosts
from gateway.documents.manifest_refused import REFUSED, explain
from gateway.documents.manifest_service import Service, image_reference
from gateway.documents.syntax import check_values, refused
from gateway.documents.yaml_syntax import parse_yaml
from gateway.errors import InvalidInput, Problem
from gateway.model import app, network
from gateway.model.image import Reference

MAX_MANIFEST_BYTES: Final = 256 << 10
MAX_SERVICES: Final = 32
_LONE_DOLLAR: Final = re.compile(r"(?<!\$)(?:\$\$)*\$(?!\$)")
_WHAT: Final = "the manifest"
_NAMES: Final = ("services", "volumes", "environment", "settings", "serial", "gpio", "deadband", "set", "depends_on")
"""Their keys are names, not Compose's."""


class Volume(Model):
    """A declared volume has no options."""


class Manifest(Model):
    name: AppName
    version: Any = None
    """Obsolete in Compose; ignored."""
    app_version: Annotated[Text, Field(alias="x-esdk-version")] = ""
    services: Annotated[dict[AppName, Service], Field(min_length=1, max_length=MAX_SERVICES)]
    volumes: Annotated[dict[VolumeName, Volume | None], Field(max_length=64)] = {}

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        return forms.drop_extensions(value, ours=("x-esdk-version",))

    @model_validator(mode="after")
    def _refers_to_what_exists(self) -> Manifest:
        checks = (self._undeclared_volumes, self._bad_dependencies, self._bad_hosts, self._clashing_ports)
        if found := [fault for each in checks for fault in each()]:
            raise faults(found)
        return self

    def _undeclared_volumes(self) -> Iterator[tuple[Path, str]]:
        for name, service in self.services.items():
            for index, mount in enumerate(service.volumes):
                if mount.type == "volume" and mount.source not in self.volumes:
                    path = ("services", name, "volumes", index)
                    yield path, f"volume {mount.source} is not declared: add it under volumes"

    def _bad_dependencies(self) -> Iterator[tuple[Path, str]]:
        for name, service in self.services.items():
            for other, dependency in service.depends_on.items():
                path = ("services", name, "depends_on", other)
                if other not in self.services:
                    yield path, "there is no such service"
                elif dependency.condition == "service_healthy" and not self._has_health(other):
                    yield path, f"{other} has no healthcheck: it would be waited for for ever"
                elif name in self._needed_by(other):
                    yield path, f"{other} itself depends on {name}"

    def _bad_hosts(self) -> Iterator[tuple[Path, str]]:
        yield from bad_hosts(self.name, {name: service.esdk.host or "" for name, service in self.services.items()})
        for name, service in self.services.items():
            host = self.services.get(self._own_host(service))
            if host is not None and not host.esdk.host and name in self._needed_by(self._own_host(service)):
                yield ("services", name, "x-esdk", "host"), f"{service.esdk.host} itself depends on {name}"

    def _own_host(self, service: Service) -> str:
        """The service of this APP that it lives in; empty when there is none."""
        app, _, host = (service.esdk.host or "").partition("/")
        return host if app == self.name else ""

    def _clashing_ports(self) -> Iterator[tuple[Path, str]]:
        seen: list[tuple[str, network.PublishedPort]] = []
        for name, service in self.services.items():
            for index, port in enumerate(service.ports):
                built = port.build()
                for owner, other in seen:
                    if built.clashes(other) and (owner, other) != (name, built):
                        yield ("services", name, "ports", index), f"{built} is published by {owner} already"
                seen.append((name, built))

    def _has_health(self, name: str) -> bool:
        health = self.services[name].healthcheck
        return health is not None and health.build() is not None

    def _needed_by(self, name: str) -> set[str]:
        """All services that must be there before `name`, `name` itself included."""
        needed: set[str] = set()
        pending = [name]
        while pending:
            current = pending.pop()
            if current not in needed and current in self.services:
                needed.add(current)
                pending.extend(self.services[current].depends_on)
                pending.append(self._own_host(self.services[current]))
        return needed

    def build_app(self) -> app.App:
        services = tuple(service.build_service(name) for name, service in self.services.items())
        if len([service for service in services if service.network is not None]) == 1:
            services = tuple(_without_closed_network(service) for service in services)
        return app.App(self.name, services, self.app_version or Reference.parse(services[0].image).tag)


def _without_closed_network(service: app.Service) -> app.Service:
    """A network that is closed, in an APP without other services, is a link to nowhere: loopback does as well."""
    return replace(service, network=None) if service.network == network.Network() else service


def load(text: bytes) -> dict[str, Any]:
    """The document in a Compose file (YAML, hence also JSON), unchecked but for its syntax and size."""
    document = parse_yaml(text, _WHAT, MAX_MANIFEST_BYTES)
    if not isinstance(document, dict):
        raise refused(_WHAT, "it is not a mapping")
    return document


def parse(document: Any, *, at_gateway: bool = True, name: str = "", at: Path = ()) -> app.App:
    """The APP that the document describes. InvalidInput with every fault and its path; paths begin with `at`.

    `at_gateway`: images must be pinned and `build` is refused; a developer's tool checks with False, then calls `pin`.
    `name` is taken where the document has none.
    """
    check_values(document, _WHAT)
    problems: list[Problem] = []
    if isinstance(document, dict):
        problems.extend(_gateway_problems(document, at) if at_gateway else ())
        document = _unescape({"name": name, **document} if name else document, at, problems)
    manifest = check(Manifest, document, _WHAT, at=at, explain=explain, also=problems)
    return manifest.build_app()


def images(document: Mapping[str, Any]) -> dict[str, str]:
    """Service -> image as written, of a document that `parse(..., at_gateway=False)` accepts."""
    return {name: service["image"] for name, service in document["services"].items()}


def pin(document: Mapping[str, Any], pinned: Mapping[str, str]) -> dict[str, Any]:
    """The document as a gateway accepts it. `pinned`: image as written -> `host/repository[:tag]@sha256:<hex>`.

    Removes `build`, labels and foreign `x-` keys. InvalidInput when an image is missing in `pinned` or has no digest.
    """
    parse(document, at_gateway=False)
    kept = forms.drop_extensions(dict(document), ours=("x-esdk-version",))
    services = {}
    for name, service in document["services"].items():
        service = {
            key: value
            for key, value in forms.drop_extensions(service, ours=("x-esdk",)).items()
            if key not in ("build", "labels")
        }
        service["image"] = pinned.get(service["image"], service["image"])
        services[name] = service
    result = {**kept, "services": services}
    parse(result)
    return result


def _gateway_problems(document: dict[str, Any], at: Path) -> Iterator[Problem]:
    services = document.get("services")
    for name, service in services.items() if isinstance(services, dict) else ():
        if not isinstance(service, dict):
            continue
        if "build" in service:
            yield Problem(path_text((*at, "services", name, "build")), REFUSED["services.*.build"])
        image = service.get("image")
        if isinstance(image, str) and _is_unpinned(image):
            message = "must be pinned by digest (HOST/REPOSITORY[:TAG]@sha256:DIGEST): `deploy` does that"
            yield Problem(path_text((*at, "services", name, "image")), message)


def _is_unpinned(image: str) -> bool:
    """True for a good reference without a digest; a bad one is the model's to report."""
    try:
        return not Reference.parse(image_reference(image)).digest
    except (InvalidInput, ValueError):
        return False


def _unescape(value: Any, path: Path, problems: list[Problem]) -> Any:
    """`$$` to `$` in all strings; a variable is a problem. Depth is bounded by `check_values`."""
    if isinstance(value, str) and "$" in value:
        if _LONE_DOLLAR.search(value):
            problems.append(Problem(path_text(path), "variables are not supported: write the value, and $$ for a $"))
        return value.replace("$$", "$")
    if isinstance(value, dict):
        return {key: _unescape(item, (*path, key), problems) for key, item in value.items() if _is_ours(path, key)}
    if isinstance(value, list):
        return [_unescape(item, (*path, index), problems) for index, item in enumerate(value)]
    return value


def _is_ours(path: Path, key: str) -> bool:
    """Not somebody's extension. Where keys are names, anything may be called `x-...`."""
    return not key.startswith("x-") or key in ("x-esdk", "x-esdk-version") or (bool(path) and path[-1] in _NAMES)
