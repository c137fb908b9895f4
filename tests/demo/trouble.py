"""Steps 9 to 11: what goes wrong in the field, and what must not happen then."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
import tomllib
from typing import Any

from gateway.documents.desired import sign_desired
from gateway.documents.envelope import PrivateKey, peek
from gateway.host import pids
from gateway.model.wire import canonical
from tests.demo.running import push, reader_manifest
from tests.demo.stage import DO1, GATEWAY, OTHER, Stage
from tests.demo.telling import say
from tests.site.processes import wait_until

BROKER_AWAY_S = 10.0
AFTERMATH_S = 1.5


def offline(stage: Stage) -> str:
    reader = pids.identify(stage.report()["pid"])
    began = time.monotonic()
    stage.broker.kill()
    say("broker killed with SIGKILL: sessions and retained messages are lost")
    time.sleep(2.0)
    stage.gateway.kill()
    say("agent killed with SIGKILL while DO1 is held by a rule; the overload ends meanwhile")
    switched = len(stage.board.history(DO1))
    stage.meter.set(power=1000.0)
    time.sleep(2.5)
    if stage.board.level(DO1) != 1 or len(stage.board.history(DO1)) != switched:
        raise AssertionError("DO1 changed while no agent was alive")
    if not reader.alive():
        raise AssertionError("the APP stopped with the agent")
    choice = _on_agent_loss(stage)
    say(f"without an agent DO1 kept its level (the next agent will {choice}, says the profile); the APP goes on")
    stage.gateway.start()
    stage.board.wait_for(DO1, 0, 10)
    say("agent started again: found the APP, and its rule let go of DO1; the broker is still away")
    time.sleep(max(0.0, BROKER_AWAY_S - (time.monotonic() - began)))
    waiting = _outbox(stage)["pending"]
    stage.broker.start()
    say(f"broker started again: {waiting} records wait in the outbox")
    wait_until(lambda: _outbox(stage)["pending"] == 0, "every record confirmed", 40)
    sent = _outbox(stage)
    wait_until(lambda: _received(stage) >= sent["appended"], "every record in the cloud", 20)
    numbers = [record["seq"] for record in stage.cloud.samples(GATEWAY) if record["stream"] == sent["stream"]]
    if sorted(numbers) != list(range(1, len(numbers) + 1)) or sent["dropped"]:
        raise AssertionError("the cloud lacks records, or has some twice")
    if not reader.alive():
        raise AssertionError("the APP was restarted")
    twice = stage.cloud.status()["counts"]["duplicates"]
    return (
        f"records 1 to {len(numbers)} are in the cloud once each ({twice} arrived twice); the APP never stopped; "
        f"DO1 stayed 1 while the agent was dead (on_agent_loss = {choice})"
    )


def _on_agent_loss(stage: Stage) -> str:
    """The profile's choice for DO1: hold or safe."""
    profile = tomllib.loads(stage.gateway.profile.read_text())
    return str(profile["gpio"]["DO1"].get("on_agent_loss", "hold"))


def _outbox(stage: Stage) -> dict[str, Any]:
    streams: list[dict[str, Any]] = stage.status()["outbox"]["streams"]
    return next(stream for stream in streams if stream["stream"] == "telemetry")


def _received(stage: Stage) -> int:
    return max((stream["last"] for stream in stage.cloud.streams(GATEWAY)), default=0)


def crash(stage: Stage) -> str:
    pid = stage.report()["pid"]
    began = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: stage.report()["pid"] not in (0, pid), "the APP's process again", 20, pause_s=0.002)
    took = time.perf_counter() - began
    wait_until(lambda: stage.report()["phase"] == "healthy", "the APP healthy again", 20)
    return f"its process ran again after {took * 1000:.0f} ms"


def update_and_refusal(stage: Stage) -> str:
    first = stage.report()
    second = reader_manifest(stage, environment={"EDITION": "second"})
    if push(stage, second) != 0:
        raise AssertionError(f"the update failed: {stage.report()}")
    good = stage.report()
    say("second version healthy; now one that fails its health check ...")
    broken = reader_manifest(
        stage, environment={"EDITION": "third"},
        healthcheck={"test": ["CMD", "python3", "-c", "raise SystemExit('out of order')"],
                     "interval": "1s", "retries": 2, "start_period": "1s", "timeout": "2s"},
    )  # fmt: skip
    if push(stage, broken) == 0:
        raise AssertionError("a version that fails its health check was called healthy")
    if stage.report()["rollout"] != "rolled_back":
        raise AssertionError(f"the gateway did not roll back: {stage.report()}")
    wait_until(lambda: stage.report()["phase"] == "healthy", "the last good version", 30)
    if stage.report()["digest"] != good["digest"] or good["digest"] == first["digest"]:
        raise AssertionError("another version than the last good one runs")
    say("rolled back by the gateway itself; now five deployments that it must refuse ...")
    count = _refusals(stage)
    return f"second version healthy, third rolled back, {count} of {count} bad deployments refused, nothing changed"


def _refusals(stage: Stage) -> int:
    """Somebody who owns the broker sends what he has."""
    push(stage, reader_manifest(stage), OTHER, wait=False)
    theirs = _envelopes(stage, OTHER)
    mine = _envelopes(stage, GATEWAY)
    payload = peek(mine[-1])[1]
    image = json.loads(payload)["apps"][0]["compose"]["services"]["reader"]["image"]
    greedy = _one_service("greedy", {"image": image, "x-esdk": {"serial": {"RS485-1": "transact"}}})
    strange = _one_service("strange", {"image": image, "privileged": True})
    attempts: list[tuple[str, str, bytes, str]] = [
        ("wrong signature", "cloud", sign_desired(payload, [PrivateKey.generate()]), "sign"),
        ("old revision", "cloud", mine[0], "revision"),
        ("another gateway's name", "cloud", theirs[-1], OTHER),
        ("unsupported Compose key", "contractor", _signed(stage, payload, strange), "services.main.privileged"),
        ("a device its signer may not use", "contractor", _signed(stage, payload, greedy), "RS485-1"),
    ]
    held = _standing(stage)
    for what, authority, envelope, reason in attempts:
        _refused(stage, what, authority, envelope, reason)
    time.sleep(AFTERMATH_S)  # what one of them had set off would show by now
    if _standing(stage) != held:
        raise AssertionError("something changed on the gateway after the refusals")
    return len(attempts)


def _one_service(name: str, service: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "services": {"main": service}}


def _signed(stage: Stage, like: bytes, compose: dict[str, Any]) -> bytes:
    """A desired state of the contractor, properly signed."""
    document = {**json.loads(like), "authority": "contractor", "revision": 1}
    document["apps"] = [{"name": compose["name"], "compose": compose}]
    return sign_desired(canonical(document), [stage.contractor])


def _envelopes(stage: Stage, gateway: str) -> list[bytes]:
    """Every desired state that the cloud has published for it."""
    topic = f"fieldgate/v1/{gateway}/desired/cloud"
    wait_until(lambda: bool(stage.observer.received(topic)), f"a desired state of {gateway}")
    return stage.observer.received(topic)


def _refused(stage: Stage, what: str, authority: str, envelope: bytes, reason: str) -> None:
    topic = f"fieldgate/v1/{GATEWAY}/progress"
    held, heard = _standing(stage), len(stage.observer.received(topic))
    stage.observer.publish(f"fieldgate/v1/{GATEWAY}/desired/{authority}", envelope)

    def reasons() -> list[str]:
        told = [json.loads(payload) for payload in stage.observer.received(topic)[heard:]]
        return [str(progress["text"]) for progress in told if progress["kind"] == "refused"]

    wait_until(lambda: bool(reasons()), f"the refusal of: {what}", 15)
    if reason not in reasons()[0]:
        raise AssertionError(f"refused for another reason: {what}: {reasons()[0]}")
    if _standing(stage) != held:
        raise AssertionError(f"something changed on the gateway: {what}")
    say(f"{what}: {' '.join(reasons()[0].split())[:150]}")


def _standing(stage: Stage) -> tuple[object, ...]:
    """What must not change: versions, containers, their processes, revisions in force, and the files of all that."""
    reports = stage.agent.call("GET", "/v1/apps")
    services = [(service.get("container"), service.get("pid")) for report in reports for service in report["services"]]
    versions = [(report["app"], report["digest"], report["rollout"]) for report in reports]
    paths = stage.gateway.paths
    files = {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for directory in (paths.desired, paths.apps, paths.images / "refs")
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
    return services, versions, stage.status()["revisions"], files
