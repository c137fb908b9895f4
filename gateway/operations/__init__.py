"""What the CLI, and later the cloud, may ask of a running agent. The doors (`admin_api/`) only carry it."""

from gateway.operations.operations import Operations

__all__ = ["Operations"]
