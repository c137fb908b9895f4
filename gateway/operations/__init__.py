"""What people and programs ask of a running gateway, and order it to do. The doors (`admin_api/`) only carry it."""

from gateway.operations.images import Images
from gateway.operations.operations import Operations, Rooms

__all__ = ["Images", "Operations", "Rooms"]
