"""Container engines: one protocol (`base.py`), one package per engine, one conformance suite (`tests/conformance/`).

What several engines share lies beside `base.py`: `records.py` remembers containers across agent restarts, `conmon.py`
runs the monitor, `exits.py` brings its news, `logs.py` reads what it wrote, `monitored.py` says what is known of a
container, `users.py` and `imagefiles.py` look into the image, `devices.py` into /dev. `router.py` makes them one.
"""
