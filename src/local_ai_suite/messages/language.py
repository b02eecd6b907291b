"""The language of this process's terminal; English until ``speak`` finds another."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from .text import Text, tr

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .text import Catalogue

DOMAIN = "local_ai_suite"
LOCALES = Path(__file__).parent / "locale"
# The suite's own variable first, then those that POSIX names for messages, in its order.
_VARIABLES = ("LAIS_LANG", "LC_ALL", "LC_MESSAGES", "LANG")

_spoken: tuple[str, Catalogue] | None = None


def wanted(environment: Mapping[str, str]) -> str:
    """``ko`` of ``LAIS_LANG=ko`` or ``LANG=ko_KR.UTF-8``; the first one that is set decides."""
    value = next((found for name in _VARIABLES if (found := environment.get(name))), "")
    language = re.match(r"[a-zA-Z]*", value)
    return language[0].lower() if language else ""


def speak(environment: Mapping[str, str]) -> bool:
    """Choose the terminal's language; ``False`` where it stays English.

    Only a program that talks to a person calls this: services inherit the variables and must not
    change what their clients and logs read. Click's own words come from the same catalogue.
    """
    global _spoken  # noqa: PLW0603 (a process has one terminal)
    language = wanted(environment)
    if not language or not (LOCALES / language / "LC_MESSAGES" / f"{DOMAIN}.mo").is_file():
        return False
    import gettext  # noqa: PLC0415 (English needs none of it)

    _spoken = language, gettext.translation(DOMAIN, str(LOCALES), [language])
    gettext.bindtextdomain(DOMAIN, str(LOCALES))
    gettext.textdomain(DOMAIN)
    # Click asks the library, which reads the environment at each call and knows no LAIS_LANG.
    os.environ["LANGUAGE"] = language
    return True


def speaks() -> str:
    """The language that the terminal reads now: ``en``, ``ko``."""
    return _spoken[0] if _spoken else "en"


def translated(text: str) -> str:
    """A :class:`Text` in the terminal's language. Any other string is as it is: it is somebody's
    words, and stays so even where a message of ours reads the same."""
    return text.said(_spoken[1]) if _spoken is not None and isinstance(text, Text) else text


def looked_up(message: str) -> str:
    """A whole message of ours that lies in a table as a plain string (a help text), translated."""
    return _spoken[1].gettext(message) if _spoken is not None and message else message


def say(template: str, /, **values: object) -> str:
    """``template`` with its ``values``, in the terminal's language, now (see ``tr``)."""
    return translated(tr(template, **values))
