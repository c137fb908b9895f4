"""Every MQTT topic, built and parsed in this one file (docs/mqtt-topics.md, docs/asyncapi.yaml).

fieldgate/v1/{gateway}/desired/{authority}   cloud -> gateway   retained   DSSE envelope
fieldgate/v1/{gateway}/ack                   cloud -> gateway              confirmation of a batch
fieldgate/v1/{gateway}/keys                  cloud -> gateway   retained   successors of the keys document
fieldgate/v1/{gateway}/request/{op}          cloud -> gateway              signed operation
fieldgate/v1/{gateway}/response/{op}         gateway -> cloud              answer to one
fieldgate/v1/{gateway}/status                gateway -> cloud   retained   online/offline (last will)
fieldgate/v1/{gateway}/reported/{app}        gateway -> cloud   retained   full snapshot of one APP
fieldgate/v1/{gateway}/progress              gateway -> cloud              what a step is doing, refusals
fieldgate/v1/{gateway}/data/{stream}         gateway -> cloud              batch of records
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.errors import InvalidInput
from gateway.model import names

ROOT: Final = "fieldgate/v1"


class Channel(StrEnum):
    DESIRED = "desired"
    ACK = "ack"
    KEYS = "keys"
    REQUEST = "request"
    STATUS = "status"
    REPORTED = "reported"
    PROGRESS = "progress"
    DATA = "data"
    RESPONSE = "response"


_DETAIL: Final = {
    Channel.DESIRED: names.AUTHORITY,
    Channel.REPORTED: names.APP,
    Channel.DATA: names.STREAM,
    Channel.REQUEST: names.OPERATION,
    Channel.RESPONSE: names.OPERATION,
}
DOWN: Final = (Channel.DESIRED, Channel.ACK, Channel.KEYS, Channel.REQUEST)
UP: Final = (Channel.STATUS, Channel.REPORTED, Channel.PROGRESS, Channel.DATA, Channel.RESPONSE)
RETAINED: Final = frozenset({Channel.DESIRED, Channel.KEYS, Channel.STATUS, Channel.REPORTED})


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic; `detail` is the last level of the channels that have one (authority, APP, stream, operation)."""

    gateway: str
    channel: Channel
    detail: str = ""

    def __str__(self) -> str:
        names.check(names.GATEWAY, self.gateway, "gateway id")
        rule = _DETAIL.get(self.channel)
        if rule is None:
            if self.detail:
                raise InvalidInput(f"cannot build topic: {self.channel} takes no further level")
            return f"{ROOT}/{self.gateway}/{self.channel}"
        return f"{ROOT}/{self.gateway}/{self.channel}/{names.check(rule, self.detail, f'{self.channel} level')}"


def parse(text: str) -> Topic:
    """The topic that `str()` built; InvalidInput for any other string."""
    levels = text.split("/")
    if levels[:2] != ROOT.split("/") or len(levels) not in (4, 5) or levels[3] not in list(Channel):
        raise InvalidInput(f"cannot parse topic {text[:200]!r}: it is none of ours")
    topic = Topic(levels[2], Channel(levels[3]), levels[4] if len(levels) == 5 else "")
    if str(topic) != text:
        raise InvalidInput(f"cannot parse topic {text[:200]!r}: it is none of ours")
    return topic


def downlink_filters(gateway: str) -> tuple[str, ...]:
    """What a gateway subscribes to."""
    base = f"{ROOT}/{names.check(names.GATEWAY, gateway, 'gateway id')}"
    return tuple(f"{base}/{channel}" + ("/+" if channel in _DETAIL else "") for channel in DOWN)


def uplink_filters() -> tuple[str, ...]:
    """What the cloud subscribes to, for all gateways."""
    return tuple(f"{ROOT}/+/{channel}" + ("/+" if channel in _DETAIL else "") for channel in UP)
