"""How parts of the agent live: what a part is, who restarts it, how long it waits, and bounded queues between rooms."""
