"""The Fieldgate agent. Start reading at gateway/agent.py; docs/architecture.md shows the floors."""

__version__ = "0.1.0"
