"""The default engine: conmon watches, crun or runc runs, overlayfs gives the root file system. No daemon.

`engine.py` assembles the rooms: `bundle.py` and `seccomp.py` decide what the runtime is told (pure), `runtime.py` runs
it, `namespace.py` is where mounts happen; records, monitor, news and logs are those of `gateway/engines/`.
"""
