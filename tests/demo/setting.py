"""Steps 1 to 5: broker, registry, field, the APP's image, the cloud."""

from __future__ import annotations

import yaml

from gateway.documents.certificates import make_authority
from gateway.documents.envelope import PrivateKey
from tests.demo.stage import CACHE, GATEWAY, MANIFEST, OTHER, PROFILE, Stage
from tests.demo.telling import say
from tests.site.broker import CLOUD, INTRUDER, Broker
from tests.site.cloud import Cloud
from tests.site.field import GpioBoard, Meter
from tests.site.gateway import ROOT, Gateway
from tests.site.mqtt_client import MqttClient
from tests.site.processes import wait_until
from tests.site.registry import Registry, image_tool


def broker(stage: Stage) -> str:
    stage.broker = stage.enter(Broker(stage.directory, make_authority("fieldgate demo")))
    mine, foreign = f"fieldgate/v1/{GATEWAY}/status", f"fieldgate/v1/{OTHER}/status"
    say("a gateway with another's certificate tries to read and to write what is not its own ...")
    cloud = MqttClient(stage.broker, stage.broker.login(CLOUD), "fieldgate/v1/#")
    other = MqttClient(stage.broker, stage.broker.login(OTHER), f"fieldgate/v1/{GATEWAY}/#", "fieldgate/v1/#")
    with cloud, other:
        other.publish(mine, b"forged")
        cloud.publish(f"fieldgate/v1/{GATEWAY}/desired/cloud", b"secret")
        other.publish(foreign, b"honest")
        wait_until(lambda: cloud.received(foreign) == [b"honest"], "the honest message")
        if cloud.received(mine) or b"secret" in other.received():
            raise AssertionError("a gateway reached another gateway's topics")
    return f"{stage.broker.address}: a gateway reaches its own topics only, shown by what arrives"


def registry(stage: Stage) -> str:
    stage.registry = stage.enter(Registry(stage.directory))
    return f"{stage.registry.host}, plain HTTP by permission of the profile"


def field(stage: Stage) -> str:
    stage.gateway = Gateway(stage.directory, PROFILE)
    where = stage.gateway.paths.run / "field"
    stage.meter = stage.enter(Meter(stage.directory, where / "RS485-1"))
    stage.board = stage.enter(GpioBoard(stage.directory, where / "gpiochip0.sock"))
    return f"meter on {(where / 'RS485-1').readlink()}, DO1 at {stage.board.level(1)}; both outlive the agent"


def app(stage: Stage) -> str:
    say("building the base image with mmdebstrap, or taking it from the cache ...")
    base = image_tool("base", "--cache", str(CACHE))
    layout = stage.directory / "layout"
    made = image_tool(
        "app", str(ROOT), "--file", str(MANIFEST.parent / "Containerfile"),
        "--base", str(base["layout"]), "--output", str(layout),
    )  # fmt: skip
    pinned = stage.registry.push(layout, "apps/meter-reader:1.0.0")
    stage.image = pinned.partition("@")[0]
    how = "from the cache" if base["cached"] else "built"
    return (
        f"{made['layers']} layers, {int(str(made['bytes'])) / 1e6:.1f} MB, base {how}, {pinned.partition('@')[2][:19]}"
    )


def cloud(stage: Stage) -> str:
    contractor = stage.directory / "contractor.pub"
    stage.contractor = PrivateKey.generate()
    contractor.write_bytes(stage.contractor.public_pem())
    stage.cloud = stage.enter(Cloud(stage.directory, stage.broker, {"contractor": contractor}))
    stage.cloud.wait_connected()
    stage.cloud.enroll(GATEWAY, stage.gateway.paths.identity)
    stage.cloud.enroll(OTHER, stage.directory / "other")
    # Sees and may send everything, as somebody could who has taken the broker over; has no key that counts.
    everything = ("fieldgate/v1/+/desired/+", "fieldgate/v1/+/progress")
    stage.observer = stage.enter(MqttClient(stage.broker, stage.broker.login(INTRUDER), *everything))
    return f"connected; {GATEWAY} and {OTHER} enrolled, each with certificate, keys document and confirmation key"


def manifest(stage: Stage) -> dict[str, object]:
    """The meter reader's own compose.yaml with the demo's registry in it."""
    document: dict[str, object] = yaml.safe_load(MANIFEST.read_text().replace(
        "registry.example/apps/meter-reader:1.0.0", stage.image
    ))  # fmt: skip
    return document
