"""The engine for gateways that have Docker Engine already; podman's and balenaEngine's sockets answer the same API.

`engine.py` assembles the rooms: `container.py` and `inspection.py` turn our words into the API's and back (pure),
`images.py` hands images over, `exits.py` brings the news, `logs.py` takes output streams apart, `http.py` is the
client. No third-party library: it is a dozen requests over a Unix socket.
"""
