"""The `fieldgate` command: one file per command, all with the same two functions `add()` and `run()`."""
