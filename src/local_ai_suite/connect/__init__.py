"""Editors and agents: their configuration written, kept, restored, and proved by a round trip.

``table.py`` says for each client where its configuration lies and what goes into it; everything
else reads that table. Nothing here prints; ``cli/connect.py`` does.
"""
