"""The cloud's side of Fieldgate: one process (`fieldgate-cloud serve`) and the commands that talk to it."""
