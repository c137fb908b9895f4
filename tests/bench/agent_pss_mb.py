"""agent_pss_mb: proportional set size of the agent, one APP running, MQTT connected, after a minute's worth of work."""

from __future__ import annotations

import statistics
import time

from tests.bench.figure import Figure
from tests.bench.gateway import BenchGateway
from tests.site.processes import pss_mb, wait_until

SETTLE_S = 5.0


def measure(quick: bool) -> Figure:
    n = 1 if quick else 3
    return Figure("agent_pss_mb", statistics.median(_once() for _ in range(n)), "MB", n)


def _once() -> float:
    from gateway.documents.certificates import make_authority
    from tests.site.broker import Broker

    bench = BenchGateway()
    with Broker(bench.directory, make_authority("bench")) as broker:
        bench.prepare(broker.port)
        login, identity = broker.login("gw-bench"), bench.gateway.paths.identity
        for source, target in ((login.ca, "ca.crt"), (login.certificate, "gateway.crt"), (login.key, "gateway.key")):
            (identity / target).write_bytes(source.read_bytes())
        bench.gateway.start()
        try:
            bench.deploy("one")
            wait_until(lambda: bool(bench.agent.call("GET", "/v1/status")["cloud"].get("connected")), "MQTT", 20)
            time.sleep(SETTLE_S)
            return pss_mb(bench.gateway.pid)
        finally:
            bench.__exit__(None, None, None)
