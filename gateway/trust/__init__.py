"""Whom the gateway believes: asks the border worker, keeps the keys, judges revisions, owners and caps."""
