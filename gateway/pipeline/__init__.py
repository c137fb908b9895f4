"""From samples to records and effects: rules, tumbling windows, deadband (docs/data-line.md).

`Pipeline` (pipeline.py) is what other rooms use: the shell that knows clock, tag table, outbox and outputs. The rest
is pure: `windows.py`, `deadband.py`, `rules.py`, `freshness.py`, `backlog.py`; `owner.py` is what one service has of
them.
"""
