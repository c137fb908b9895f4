"""The command line `fieldgate-cloud`."""
