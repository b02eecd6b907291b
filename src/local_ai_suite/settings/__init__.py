"""The settings room: ``.env`` as Docker Compose reads it, the environment, and flags, checked.

``load`` holds every setting and its rule, ``spec`` how a text becomes a value, ``dotenv`` the
file's format, ``file`` the first ``.env``.
"""

from __future__ import annotations

from .load import KEYS, SECRET_KEYS, Settings, load_settings

__all__ = ["KEYS", "SECRET_KEYS", "Settings", "load_settings"]
