"""`fieldgate-cloud undeploy`: removes an APP from a gateway; its volumes stay there."""

from __future__ import annotations

import argparse

from cloud.cli.client import CloudClient, path
from cloud.cli.deploy import WAIT_S, followed, report
from cloud.cli.follow import Following, Result, Verdict
from cloud.state import State
from gateway.terminal import print_json


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("app")
    command.add_argument("--gateway", required=True)
    command.add_argument("--wait", action="store_true", help="until nothing of it runs any more")
    command.add_argument("--timeout", type=float, default=WAIT_S, metavar="SECONDS", help="of --wait (%(default)g)")


def run(options: argparse.Namespace, state: State) -> int:
    client = CloudClient(state)
    target = path("gateways", options.gateway, "apps", options.app)
    if not options.wait:
        made = client.call("DELETE", target)
        if options.json:
            print_json(made)
        else:
            print(f"{made['app']} removed: {made['gateway']}, revision {made['revision']}")
        return 0
    with client.events(options.gateway) as events:
        reports = client.call("GET", path("gateways", options.gateway))["reports"]
        made = client.call("DELETE", target)
        if any(known["app"] == options.app for known in reports):
            verdict = followed(options, events, Following(options.app, made["revision"], made["envelope"]))
        else:
            verdict = Verdict(Result.REMOVED, "the gateway had not reported it")
    report(options, made, verdict)
    return 0 if verdict.good else 1
