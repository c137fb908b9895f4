"""`make demo`: the main job of the product, end to end, on real parts. `story.py` is the list of steps, in order."""
