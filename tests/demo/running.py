"""Steps 6 to 8: the gateway deploys, measures and answers."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import yaml

from tests.demo.setting import manifest
from tests.demo.stage import DO1, GATEWAY, Stage
from tests.demo.telling import say
from tests.site.processes import wait_until

DEPLOY_TIMEOUT_S = 60


def reader_manifest(stage: Stage, **changes: Any) -> dict[str, Any]:
    """The manifest as a document; `changes` go into its only service."""
    document: dict[str, Any] = manifest(stage)
    service = document["services"]["reader"]
    service["x-esdk"]["settings"]["energy_interval_s"] = 1
    service["healthcheck"] |= {"interval": "1s", "start_period": "3s"}
    service |= changes
    return document


def push(stage: Stage, document: dict[str, Any], gateway: str = GATEWAY, wait: bool = True) -> int:
    """`fieldgate-cloud deploy`, with its own output for the spectator; its exit status."""
    file = stage.directory / "compose.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    argv = [*stage.cloud.command("deploy"), "--gateway", gateway, str(file), "--plain-http", stage.registry.host]
    if wait:
        argv += ["--wait", "--timeout", str(DEPLOY_TIMEOUT_S)]
    return subprocess.run(argv, timeout=DEPLOY_TIMEOUT_S + 30, check=False).returncode


def deploy(stage: Stage) -> str:
    stage.enter(stage.gateway)
    say(f"fieldgate run --profile {stage.gateway.profile.name}: up; now fieldgate-cloud deploy ... --wait")
    began = time.monotonic()
    if push(stage, reader_manifest(stage)) != 0:
        raise AssertionError(f"the deployment failed: {stage.report()}")
    report = stage.report()
    runtime = stage.status()["engine"]
    return f"healthy after {time.monotonic() - began:.1f} s as process {report['pid']} (engine {runtime}, conmon)"


def data_line(stage: Stage) -> str:
    stage.meter.set(voltage=231.5, power=1200.0, current=5.2)

    def there() -> bool:
        tag = stage.cloud.tags(GATEWAY).get("meter/power")
        return tag is not None and abs(tag["value"] - 1200) < 1

    waited = wait_until(there, "the new power in the cloud", 15)
    subprocess.run([*stage.cloud.command("tags"), "--gateway", GATEWAY], timeout=30, check=True)
    records = stage.cloud.samples(GATEWAY, "meter/power")
    window = next(record["record"] for record in reversed(records) if record["kind"] == "window")
    _check_window(window)
    shape = ", ".join(f"{name} {window[name]:g}" for name in ("mean", "minimum", "maximum", "last", "count"))
    return f"meter/power {shape} {window['unit']}, {waited:.1f} s after the meter had it"


def _check_window(window: dict[str, Any]) -> None:
    """Of one second, of a tag that is read once a second, measured just now."""
    age_s = time.time() - window["end_ns"] / 1e9
    if window["end_ns"] - window["start_ns"] != 1e9 or not 1 <= window["count"] <= 2 or not 0 < age_s < 15:
        raise AssertionError(f"not a window of the last seconds: {window}")
    if not window["minimum"] <= window["mean"] <= window["maximum"] or window.get("quality", "good") != "good":
        raise AssertionError(f"not what a good meter gives: {window}")


def local_response(stage: Stage) -> str:
    before = stage.status()["pipeline"]["responses"]
    stage.meter.set(power=6000.0)
    stage.board.wait_for(DO1, 1, 10)
    status = stage.status()
    if status["pipeline"]["responses"] <= before:
        raise AssertionError("DO1 was switched, but by no rule")
    return f"DO1 set {status['pipeline']['last_response_us']:.0f} µs after the tag reached the gateway"
