"""What an APP may touch: per container a directory with its bound and listening eSDK socket, and the grant behind it.

`reconcile/` binds before a container starts, the kernel's backlog holds early callers, `esdk_server/` serves. The
endpoint *is* the identity: there is no token to steal or to forget.
"""

from gateway.endpoints.endpoints import Endpoint, EndpointChange, Endpoints, EndpointSpec

__all__ = ["Endpoint", "EndpointChange", "EndpointSpec", "Endpoints"]
