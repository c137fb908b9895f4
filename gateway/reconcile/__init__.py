"""Works towards the desired state: observe, plan, do one step per APP, observe again.

`planner.py` decides (pure), from `view.py` (what is known), `phases.py` (how a service is) and `gate.py` (is a new
version good). `loop.py` observes and wakes, `memory.py` keeps what it saw, `health.py` probes, `execute.py` does
the steps.
`desired_store.py` and `records.py` remember across power cuts; `acceptance.py` takes new desired states in;
`report.py` tells.
"""
