"""An engine without containers: for laptops, demonstrations and tests. No root, no image, no kernel feature.

Containers are records on a `Machine` (`machine.py`), which outlives engines as a real machine outlives agents, as long
as the process lives. How one behaves is scripted (`behaviour.py`, pure); `engine.py` is the `Engine` protocol on top.
"""
