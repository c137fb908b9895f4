"""The Fieldgate eSDK for Python APPs: the gateway's serial ports, lines, tags and facts. Standard library only.

    from esdk import Gateway

    gateway = Gateway()
    answer = gateway.serial("RS485-1").transact(bytes.fromhex("010300000001840a"))
    gateway.tags.publish([{"tag": "meter/voltage", "value": 230.1, "unit": "V"}])

For tests without a gateway: `esdk.testing`. Reference: docs/esdk.md. Not thread-safe: one `Gateway` per thread.
"""

from esdk.client import Gateway
from esdk.errors import (
    AgentAway,
    BadAnswer,
    Conflict,
    EsdkError,
    InvalidInput,
    NotFound,
    NotPermitted,
    TimedOut,
    Unavailable,
)

__all__ = [
    "AgentAway",
    "BadAnswer",
    "Conflict",
    "EsdkError",
    "Gateway",
    "InvalidInput",
    "NotFound",
    "NotPermitted",
    "TimedOut",
    "Unavailable",
]
