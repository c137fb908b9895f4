"""One entry of a manifest's `services`: the supported Compose keys of a service, turned into `model.app.Service`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from gateway.documents import manifest_forms as forms
from gateway.documents.checks import AppName, Model, Path, Seconds, Text, faults
from gateway.documents.manifest_esdk import Esdk
from gateway.documents.manifest_hosted import contradictions
from gateway.documents.manifest_network import DnsList, ExposeList, Hosts, PortList, parse_each
from gateway.documents.manifest_parts import (
    Dependency,
    Deploy,
    HealthCheck,
    StorageOptions,
    Tmpfs,
    TmpfsOptions,
    Volume,
)
from gateway.errors import InvalidInput
from gateway.model import app, network
from gateway.model.image import Reference

_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})?")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")

Words = Annotated[list[Text], BeforeValidator(forms.words), Field(max_length=256)]
Texts = Annotated[dict[str, Annotated[str, Field(max_length=32768)]], BeforeValidator(forms.text_mapping)]
Device = Annotated[str, AfterValidator(forms.device)]
Capability = Annotated[str, AfterValidator(forms.capability)]


def image_reference(text: str) -> str:
    """An image by registry, repository and perhaps tag and digest. ValueError says what is wrong."""
    try:
        Reference.parse(text)
    except InvalidInput as failure:
        raise ValueError(failure.message) from None
    return text


class Service(Model):
    """`build` and `labels` are accepted and dropped; a gateway sees no `build` (manifest.parse refuses it there)."""

    image: Annotated[str, AfterValidator(image_reference)]
    build: Any = None
    command: Words | None = None
    entrypoint: Words | None = None
    environment: Annotated[Texts, Field(max_length=256)] = {}
    labels: Texts = {}
    user: str = ""
    working_dir: Annotated[str, AfterValidator(forms.absolute_path)] = ""
    read_only: bool = False
    restart: Literal["no", "on-failure", "always", "unless-stopped"] = "no"
    stop_grace_period: Seconds = 10.0
    stop_signal: Annotated[str, BeforeValidator(forms.stop_signal)] = "SIGTERM"
    healthcheck: HealthCheck | None = None
    deploy: Deploy = Deploy()
    storage_opt: StorageOptions = StorageOptions()
    volumes: Annotated[list[Annotated[Volume, BeforeValidator(forms.volume)]], Field(max_length=64)] = []
    tmpfs: Annotated[
        list[Annotated[Tmpfs, BeforeValidator(forms.tmpfs)]],
        BeforeValidator(forms.one_or_more),
        Field(max_length=16),
    ] = []
    devices: Annotated[list[Device], Field(max_length=64)] = []
    cap_add: Annotated[list[Capability], Field(max_length=64)] = []
    cap_drop: Annotated[list[Capability], Field(max_length=64)] = []
    network_mode: Literal["none", "host"] | None = None
    ports: PortList = []
    expose: ExposeList = []
    dns: DnsList = []
    extra_hosts: Hosts = {}
    depends_on: Annotated[dict[AppName, Dependency], BeforeValidator(forms.dependencies), Field(max_length=32)] = {}
    esdk: Annotated[Esdk, Field(alias="x-esdk")] = Esdk()

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        return forms.drop_extensions(value, ours=("x-esdk",))

    @field_validator("command")
    @classmethod
    def _not_empty(cls, command: list[str] | None) -> list[str] | None:
        if command == []:
            raise ValueError("must not be empty: leave it out to take the image's own")
        return command

    @field_validator("user", mode="before")
    @classmethod
    def _user(cls, value: Any) -> str:
        text = forms.scalar_text(value)
        if not _USER.fullmatch(text):
            raise ValueError('must be a user such as "1000", "1000:1000" or "app"')
        return text

    @field_validator("restart", mode="before")
    @classmethod
    def _restart(cls, value: Any) -> Any:
        if isinstance(value, str) and value.startswith("on-failure:"):
            raise ValueError("a maximum number of restarts is not supported: write on-failure")
        return value

    @field_validator("cap_add")
    @classmethod
    def _each_by_name(cls, capabilities: list[str]) -> list[str]:
        if "ALL" in capabilities:
            raise ValueError("ALL is not supported here: name each capability")
        return capabilities

    @field_validator("environment")
    @classmethod
    def _variables(cls, environment: dict[str, str]) -> dict[str, str]:
        found: list[tuple[Path, str]] = [
            ((key,), f"must match {_VARIABLE.pattern}") for key in environment if not _VARIABLE.fullmatch(key)
        ]
        if found:
            raise faults(found)
        return environment

    @model_validator(mode="after")
    def _targets(self) -> Service:
        """Two things at one place would hide each other."""
        targets: list[tuple[Path, str]] = [(("volumes", i, "target"), v.target) for i, v in enumerate(self.volumes)]
        targets += [(("tmpfs", i), mount.target) for i, mount in enumerate(self.tmpfs)]
        seen: set[str] = set()
        found: list[tuple[Path, str]] = []
        for path, target in targets:
            if target in seen:
                found.append((path, f"something else is mounted at {target} already"))
            seen.add(target)
        if found:
            raise faults(found)
        return self

    @model_validator(mode="after")
    def _restarted_whatever_happens(self) -> Service:
        if self.esdk.standby and self.restart not in ("always", "unless-stopped"):
            reason = "a spare is started whenever the service ends: that needs restart: always or unless-stopped"
            raise faults([(("x-esdk", "standby"), reason)])
        return self

    @model_validator(mode="after")
    def _own_network(self) -> Service:
        """What concerns a network of its own needs one; and all of it can be read."""
        concerned = {
            ("ports",): self.ports, ("expose",): self.expose, ("dns",): self.dns, ("extra_hosts",): self.extra_hosts,
            ("x-esdk", "network", "egress"): self.esdk.network.egress,
            ("x-esdk", "network", "reach"): self.esdk.network.reach,
        }  # fmt: skip
        if self.network_mode is not None and (used := [path for path, value in concerned.items() if value]):
            reason = f"needs a network of its own: leave network_mode: {self.network_mode} out"
            raise faults([(path, reason) for path in used])
        self.build_network()
        return self

    @model_validator(mode="after")
    def _as_its_host(self) -> Service:
        if self.esdk.host is not None:
            found = [*contradictions(self.model_fields_set, self.esdk.model_fields_set, self.user)]
            if found:
                raise faults(found)
        return self

    def build_network(self) -> network.Network | None:
        if self.network_mode is not None or self.esdk.host is not None:
            return None
        own = self.esdk.network
        return network.Network(
            ports=tuple(dict.fromkeys(port.build() for port in self.ports)),
            expose=parse_each(self.expose, network.parse_ports, ("expose",)),
            egress=parse_each(own.egress, network.parse_destination, ("x-esdk", "network", "egress")),
            reach=parse_each(own.reach, network.parse_reach, ("x-esdk", "network", "reach")),
            dns=tuple(dict.fromkeys(self.dns)),
            extra_hosts=self.extra_hosts,
        )

    def build_service(self, name: str) -> app.Service:
        limits = self.deploy.resources.limits
        return app.Service(
            name=name,
            image=self.image,
            command=tuple(self.command or ()),
            entrypoint=None if self.entrypoint is None else tuple(self.entrypoint),
            environment=self.environment,
            user=self.user,
            working_dir=self.working_dir,
            read_only=self.read_only,
            restart=app.Restart(self.restart),
            stop_grace_period_s=self.stop_grace_period,
            stop_signal=self.stop_signal,
            healthcheck=self.healthcheck.build() if self.healthcheck else None,
            limits=limits.build(self.storage_opt.size),
            volumes=tuple(
                app.VolumeMount(str(v.source), v.target, v.read_only) for v in self.volumes if v.type == "volume"
            ),
            binds=tuple(app.BindMount(str(v.source), v.target, v.read_only) for v in self.volumes if v.type == "bind"),
            tmpfs=self._tmpfs(),
            devices=tuple(dict.fromkeys(self.devices)),
            cap_add=tuple(dict.fromkeys(self.cap_add)),
            cap_drop=tuple(dict.fromkeys(self.cap_drop)),
            host_network=self.network_mode == "host",
            network=self.build_network(),
            depends_on={other: app.Condition(entry.condition) for other, entry in self.depends_on.items()},
            esdk=self.esdk.build(),
            standby=self.esdk.standby,
            engine=self.esdk.engine or "",
            host=self.esdk.host or "",
            guests=tuple(dict.fromkeys(self.esdk.guests)),
            settings=self.esdk.settings,
        )

    def _tmpfs(self) -> tuple[app.TmpfsMount, ...]:
        short = [app.TmpfsMount(mount.target, mount.size) for mount in self.tmpfs]
        long = [app.TmpfsMount(v.target, (v.tmpfs or TmpfsOptions()).size) for v in self.volumes if v.type == "tmpfs"]
        return tuple(short + long)
