"""`fieldgate-cloud serve`: the one process that ingests, confirms and publishes; everything else talks to it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from cloud.state import State
from gateway.errors import NotFound


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("--broker", required=True, metavar="HOST:PORT", help="the MQTT broker, TLS")
    command.add_argument("--ca", type=Path, help="who vouches for the broker, PEM (STATE/ca.crt)")
    command.add_argument("--cert", type=Path, help="the cloud's client certificate, PEM (STATE/cloud.crt)")
    command.add_argument("--key", type=Path, help="its key, PEM (STATE/cloud.key)")
    command.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))


def run(options: argparse.Namespace, state: State) -> int:
    from cloud.api import serve_api
    from cloud.server import Cloud, cause_of
    from gateway.mqtt import Address, Login

    logging.basicConfig(level=options.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    if not state.database.exists():
        raise NotFound(f"cannot serve {state.directory}: it is not initialised", hint="fieldgate-cloud keys init")
    login = Login(options.ca or state.ca_certificate, options.cert or state.certificate, options.key or state.key)
    for file in (login.ca, login.certificate, login.key):
        if not file.exists():
            raise NotFound(f"cannot serve: there is no {file}")

    async def serve() -> None:
        running = asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGINT):
            if running is not None:
                asyncio.get_running_loop().add_signal_handler(number, running.cancel)
        await Cloud(state, Address.parse(options.broker), login).run(lambda cloud: serve_api(state.socket, cloud))

    try:
        asyncio.run(serve())
    except asyncio.CancelledError:
        return 0
    except BaseExceptionGroup as bundle:
        if cause := cause_of(bundle):
            raise cause from bundle
        raise
    return 0
