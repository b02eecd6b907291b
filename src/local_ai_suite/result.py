"""What a command returns, and the one place where it becomes text or JSON.

The envelope of ``--json`` is the same for every command::

    {"ok": true,  "command": "status", "data": {...}, "warnings": ["..."]}
    {"ok": false, "command": "up", "error": {"code", "message", "hint", "details"?}, "warnings": []}
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from local_ai_suite.messages import say, translated

if TYPE_CHECKING:
    from local_ai_suite.errors import SuiteError


@dataclass(frozen=True, slots=True)
class Result:
    """A finished command: ``text`` for a person, ``data`` (JSON-able) for a program.

    ``exit_code`` is non-zero for a command that worked and whose answer is "no", such as a
    preflight that found a failure.
    """

    command: str
    text: str
    data: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    exit_code: int = 0

    def as_json(self) -> str:
        """The envelope of a command that ended, as one line of JSON."""
        return _dump(
            {
                "ok": self.exit_code == 0,
                "command": self.command,
                "data": self.data,
                "warnings": list(self.warnings),
            }
        )


def error_as_json(command: str, error: SuiteError) -> str:
    """The envelope of a command that failed, as one line of JSON."""
    return _dump({"ok": False, "command": command, "error": error.as_dict(), "warnings": []})


def error_as_text(error: SuiteError) -> str:
    """For a person, in the terminal's language; the hint below the message."""
    told = say("error: {message}", message=error.message)
    return f"{told}\n  {translated(error.hint)}" if error.hint else told


def _dump(value: dict[str, Any]) -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()
    except TypeError:
        import json  # noqa: PLC0415 (seldom)

        # A file's name that is not UTF-8 has surrogates, which orjson refuses; escaped they read
        # back as the same name.
        return json.dumps(value, indent=2, default=str)
