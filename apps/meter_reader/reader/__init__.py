"""An energy meter on RS-485, read once a second and published as tags. Uses `esdk` and the standard library only.

Empty on purpose: the health check imports this package a dozen times a minute.
"""
