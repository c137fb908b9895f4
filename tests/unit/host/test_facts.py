"""Facts of the board that runs the tests."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from gateway.host.facts import Facts, boot_id


def test_they_are_json_and_true(tmp_path: Path) -> None:
    facts = json.loads(json.dumps(Facts(tmp_path).facts()))
    assert facts["kernel"] == os.uname().release
    assert facts["memory"]["total"] >= facts["memory"]["available"] > 0
    assert facts["disk"]["total"] >= facts["disk"]["free"]
    assert facts["boot_id"] == boot_id() != ""
    assert abs(facts["time"]["unix_ns"] - time.time_ns()) < 5e9
    assert facts["time"]["synchronised"] in (True, False)
    assert facts["uptime_s"] > 0
