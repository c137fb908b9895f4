"""The gateway's side of MQTT (docs/mqtt-topics.md): one session, and what goes down and up over it.

`CloudLink` (link.py) is what `agent.py` uses: a part. `downlink.py` takes desired states, keys and confirmations in;
`uplink.py` sends batches until the cloud has confirmed them, by the plan of `window.py`; `report.py` tells how the APPs
are, as often as `pacing.py` allows. `ports.py` is what all of them need of other rooms.
"""

from gateway.cloud_link.link import CloudLink, LinkStatus
from gateway.cloud_link.ports import LinkPorts

__all__ = ["CloudLink", "LinkPorts", "LinkStatus"]
