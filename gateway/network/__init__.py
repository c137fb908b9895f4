"""The APPs' networks: one routed /32 link per service, closed except for what manifests open. No bridge, no daemon.

`network.py` is the part: it hands links to engines, keeps them as they should be, and removes what nobody needs.
Pure: `layout.py` (addresses and names), `ipam.py`, `ruleset.py` (nftables text and its changes), `files.py` (hosts,
resolv.conf), `present.py` (what the kernel has), `names.py` (what names stand for).
`worker.py` does the kernel's part in a process of its own, with `rtnetlink.py` (pyroute2) and `nftables.py`
(libnftables); `caller.py` starts and asks it. docs/networks.md shows the whole.
"""
