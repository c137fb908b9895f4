"""The story in order: title and function of each step. A function returns what was seen, or raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.demo import running, setting, trouble
from tests.demo.stage import Stage

STEPS: Final[tuple[tuple[str, Callable[[Stage], str]], ...]] = (
    ("Broker: Mosquitto, TLS, a certificate per client", setting.broker),
    ("Registry: docker-registry", setting.registry),
    ("Field: RS-485 energy meter, gpiochip", setting.field),
    ("APP: base image, one layer on it, pushed", setting.app),
    ("Cloud: fieldgate-cloud serve", setting.cloud),
    ("Gateway: signed deployment, pull, start, healthy", running.deploy),
    ("Data line: 1 s windows in the cloud", running.data_line),
    ("Local response: power above its limit switches DO1", running.local_response),
    ("Offline: broker killed for 10 s, agent killed meanwhile", trouble.offline),
    ("Crash: the APP is killed", trouble.crash),
    ("Update, roll-back, refusals", trouble.update_and_refusal),
)
