"""Containers by the lxc tools: system containers with an init of their own, and plain images.

`engine.py` assembles the rooms: `config.py` and `seccomp.py` decide what lxc is told (pure), `mountpoints.py` makes
room for mounts in the root file system, `bundle.py` writes all that for one container, `tools.py` speaks with
`lxc-start` and `report.py` reads what it says (pure), `attach.py` runs programs inside. conmon keeps the output and
waits, as for the OCI engine; records, news and logs are those of `gateway/engines/`.
"""
