"""Where the trained demo model lies."""

from __future__ import annotations

from pathlib import Path

_FILE = Path(__file__).with_name("demo.gguf")


def demo_model_path() -> Path | None:
    """The GGUF file that ships with the suite, or None in a copy that was packed without it."""
    return _FILE if _FILE.is_file() else None
