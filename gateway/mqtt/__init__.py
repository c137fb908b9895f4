"""One MQTT 5 session, for whoever needs one: the gateway's link to the cloud, and the cloud's to the broker."""

from gateway.lifecycle.backoff import Backoff
from gateway.mqtt.session import Address, Incoming, Login, Session, SessionStatus, Will

__all__ = ["Address", "Backoff", "Incoming", "Login", "Session", "SessionStatus", "Will"]
