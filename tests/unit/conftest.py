"""Settings of all unit tests: how long an example takes on a busy machine says nothing about what is tested."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("fieldgate", deadline=None)
settings.load_profile("fieldgate")
