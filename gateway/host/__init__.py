"""Thin wrappers of what Linux offers: files, processes, mounts, cgroups, serial ports, GPIO chips. No decisions."""
