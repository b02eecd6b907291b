"""What both HTTP services share: checks at the door, error bodies, serving, passing bytes on.

A client's bytes: ``serve`` listens, ``connection`` reads and bounds, ``head`` judges, ``cycle`` is
one request and its answer for an ASGI application (``asgi``), ``state`` is what connections share.
``guard`` says who may come in, ``upstream`` asks another server.
"""
