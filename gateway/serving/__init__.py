"""HTTP over Unix sockets with limits on all that a caller can do: `listen()` serves an ASGI application on one socket.

`esdk_server/` (one socket per container) and `admin_api/` (one for the CLI) stand on it.
"""

from gateway.serving.listener import Listener, listen
from gateway.serving.protocol import Limits

__all__ = ["Limits", "Listener", "listen"]
