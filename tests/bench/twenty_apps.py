"""boot_20_apps_by_agent, engine_mb_20_apps, agent_pss_mb: twenty APPs on one gateway, twenty containers on one Docker.

boot_20_apps_by_agent: all are stopped; from the first order to start until the twentieth process runs, all the way
through the agent: admin socket, the operator's word on flash, reconciler, endpoint, engine.
engine_mb_20_apps: PSS of everything that is neither APP nor agent. agent_pss_mb: of the agent, MQTT connected.
"""

from __future__ import annotations

import statistics
import threading
import time
from typing import Final

from gateway.cli.client import Agent
from tests.bench.boot_20_apps import APPS, PAUSE_S, SIDE_BY_SIDE, start_all
from tests.bench.figure import Figure, in_turns
from tests.bench.gateway import BenchGateway
from tests.bench.peers import docker, mb_of
from tests.site.processes import pss_mb, wait_until

SETTLE_S: Final = 5.0


def measure(quick: bool) -> list[Figure]:
    from gateway.documents.certificates import make_authority
    from tests.site.broker import Broker

    n = 1 if quick else 5
    bench = BenchGateway()
    with Broker(bench.directory, make_authority("bench")) as broker, docker() as peer:
        bench.prepare(broker.port)
        login, identity = broker.login("gw-bench"), bench.gateway.paths.identity
        for source, target in ((login.ca, "ca.crt"), (login.certificate, "gateway.crt"), (login.key, "gateway.key")):
            (identity / target).write_bytes(source.read_bytes())
        bench.gateway.start()
        try:
            names = [f"app{number}" for number in range(APPS)]
            bench.deploy_all(names)
            theirs = [peer.create(bench.pipe.directory) for _ in names]
            for container in theirs:
                peer.start(container)
            bench.pipe.wait_for(APPS)
            boot = in_turns([lambda _: _boot(bench, names), lambda _: start_all(peer, theirs, bench.pipe)], n)
            wait_until(lambda: bool(bench.agent.call("GET", "/v1/status")["cloud"].get("connected")), "MQTT", 20)
            time.sleep(SETTLE_S)
            engine = mb_of(bench.gateway.paths.engine), peer.engine_mb()
            agent = statistics.median(pss_mb(bench.gateway.pid) for _ in range(3))
        finally:
            bench.__exit__(None, None, None)
    return [
        Figure("boot_20_apps_by_agent", boot[0], "ms", n, boot[1], peer.name),
        Figure("engine_mb_20_apps", engine[0], "MB", 1, engine[1], "dockerd, containerd and shims"),
        Figure("agent_pss_mb", agent, "MB", 3),
    ]


def _boot(bench: BenchGateway, names: list[str]) -> float:
    for name in names:
        bench.agent.call("POST", f"/v1/apps/{name}/stop")
    wait_until(lambda: not any(bench.pids().values()), "all stopped", 60, pause_s=0.2)
    time.sleep(PAUSE_S)
    waiting = list(names)

    def start() -> None:
        agent = Agent(bench.gateway.paths.admin_socket)
        while waiting:
            agent.call("POST", f"/v1/apps/{waiting.pop(0)}/start")

    orders = [threading.Thread(target=start) for _ in range(SIDE_BY_SIDE)]
    began = time.perf_counter()
    for order in orders:
        order.start()
    seconds = bench.pipe.wait_for(APPS) - began
    for order in orders:
        order.join()
    return seconds * 1000
