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
    """``text`` in the terminal's language if it is a :class:`Text` or stands in the catalogue."""
    if _spoken is None or not text:
        return text
    catalogue = _spoken[1]
    return text.said(catalogue) if isinstance(text, Text) else catalogue.gettext(text)


def say(template: str, /, **values: object) -> str:
    """``template`` with its ``values``, in the terminal's language, now (see ``tr``)."""
    return translated(tr(template, **values))
