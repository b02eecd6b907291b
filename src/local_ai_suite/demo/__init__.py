"""The demo room: a trained model that ships with the suite, and a scripted one for tests."""

from __future__ import annotations

from .bundled import demo_model_path
from .scripted import (
    DEFAULT,
    Call,
    Calls,
    ChatForm,
    Rule,
    Say,
    Script,
    build_scripted_gguf,
    write_scripted_gguf,
)

__all__ = [
    "DEFAULT",
    "Call",
    "Calls",
    "ChatForm",
    "Rule",
    "Say",
    "Script",
    "build_scripted_gguf",
    "demo_model_path",
    "write_scripted_gguf",
]
