"""Container images: fetched from a registry over a bad link, verified, unpacked and kept so that power cuts do no harm.

`Puller` fetches (resumes, verifies, unpacks), `ImageStore` keeps and hands out (`engines.base.RootfsSource`). Knows
neither APPs nor engines: `reconcile/` decides what is pulled and what may go, `agent.py` hands the store to the engine.
Unpacking runs in a process of its own, which holds the memory and is chrooted into the layer that it writes.
"""
