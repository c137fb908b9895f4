"""Container engines: one protocol (`base.py`), one package per engine, one conformance suite (`tests/conformance/`)."""
