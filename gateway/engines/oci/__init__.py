"""The default engine: conmon watches, crun or runc runs, overlayfs gives the root file system. No daemon.

`engine.py` assembles the rooms: `bundle.py` and `seccomp.py` decide what the runtime is told (pure), `seccomp_bpf.py`
and `seccomp_filter.py` make the profile a program once instead of at every start, `runtime.py` runs it, `namespace.py`
is where mounts happen, `options.py` is what a board may want otherwise; records, monitor, news and logs are those of
`gateway/engines/`.
"""
