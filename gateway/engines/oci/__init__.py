"""The default engine: conmon watches, crun or runc runs, overlayfs gives the root file system. No daemon.

`engine.py` assembles the rooms: `bundle.py`, `users.py` and `seccomp.py` decide what the runtime is told (pure),
`records.py` remembers containers across agent restarts, `runtime.py` and `conmon.py` run the programs, `namespace.py`
is where mounts happen, `exits.py` brings the news, `logs.py` reads what conmon wrote.
"""
