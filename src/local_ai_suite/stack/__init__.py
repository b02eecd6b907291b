"""A phase as an ordered list of services, up and down.

``services`` says which they are, ``supervisor`` keeps them running natively, ``native`` starts and
stops that supervisor, ``ports`` tells who is in the way, ``status`` asks what runs.
"""
