"""The eSDK's HTTP side: serves every endpoint that `endpoints/` has bound, each to the one container that holds it.

`routes.py` is the table of what there is, with its access rules; `openapi.py` writes it down for APP developers;
`server.py` turns endpoints into listeners; `ports.py` says what is needed of the rooms below.
"""
