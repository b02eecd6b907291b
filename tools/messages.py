"""Bring the translations up to date with the texts in the source (``make messages``).

The texts come from four places: ``tr``, ``say`` and ``counted`` in the source, the help of every
command, click's own words, and the table of recommended models. Each goes into the ``.po`` under
``local_ai_suite/messages/locale``, which people edit, and that into the ``.mo``, which gettext
reads. Translations that stand there are kept; a text that is gone goes with its translation; a new
one has none until somebody writes it, and tests/messages fails until then. Files are sorted and
name no lines, so that they change only when a text does.
"""

from __future__ import annotations

import ast
import importlib
import io
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from local_ai_suite.cli import main as door
from local_ai_suite.cli.help import help_texts
from local_ai_suite.messages.language import DOMAIN, LOCALES
from local_ai_suite.models.recommended import recommended

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parents[1] / "src" / "local_ai_suite"
_OURS = {"tr": 1, "say": 1, "counted": 2}  # the arguments that are templates
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
_CLICKS = {"_": None, "ngettext": (1, 2)}
Message = str | tuple[str, str]


def texts() -> Iterator[Message]:
    """Every text that a person may read; a pair where there are a singular and a plural."""
    yield from _in_source()
    yield from _in_click()
    for entry in recommended():
        yield entry.fits_6gb
        # A name needs no translation, what stands in brackets behind it does.
        yield from (text for text in (entry.title, entry.licence) if "(" in text)
    yield from help_texts(door.lais)
    for module, _ in door.VERBS.values():
        for name in vars(importlib.import_module(f"local_ai_suite.cli.{module}")).values():
            if isinstance(name, click.Command):
                yield from help_texts(name)


def _in_source() -> Iterator[Message]:
    """The templates in our source. Not with Babel: it does not look into f-strings."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            templates = [
                argument.value
                for argument in node.args[: _OURS.get(node.func.id, 0)]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            ]
            if templates and _has_words(templates[0]):
                yield templates[0] if len(templates) == 1 else (templates[0], templates[1])


def _in_click() -> Iterator[Message]:
    folder = Path(click.__file__).parent
    for _, _, message, _, _ in extract_from_dir(folder, keywords=_CLICKS):
        if message:
            yield message if isinstance(message, str) else (message[0], message[1])


def _has_words(template: str) -> bool:
    """Whether there is something to translate around the ``{placeholders}``."""
    return any(letter.isalpha() for letter in _PLACEHOLDER.sub("", template))


def file(language: str, ending: str) -> Path:
    """The catalogue's file: ``po`` for people, ``mo`` for gettext."""
    return LOCALES / language / "LC_MESSAGES" / f"{DOMAIN}.{ending}"


def read(language: str) -> Catalog:
    """The translations as they stand in the ``.po``."""
    with file(language, "po").open("rb") as stream:
        return read_po(stream, locale=language, domain=DOMAIN)


def brought_up_to_date(old: Catalog) -> Catalog:
    """``old`` with every text of today and no other."""
    new = Catalog(
        locale=old.locale,
        domain=DOMAIN,
        project="local-ai-suite",
        fuzzy=False,
        header_comment="# Edit msgstr here, then run: make messages",
        creation_date=old.creation_date,
        revision_date=old.revision_date,
    )
    for text in texts():
        one = text if isinstance(text, str) else text[0]
        known = old.get(one)
        string = known.string if known is not None else ""
        if not isinstance(text, str) and isinstance(string, str):
            string = (string,)  # Korean has one form for every number
        new.add(text, string)
    return new


def as_po(catalog: Catalog) -> bytes:
    """The ``.po``'s bytes."""
    out = io.BytesIO()
    write_po(out, catalog, width=100, no_location=True, sort_output=True)
    return out.getvalue()


def as_mo(catalog: Catalog) -> bytes:
    """The ``.mo``'s bytes."""
    out = io.BytesIO()
    write_mo(out, catalog)
    return out.getvalue()


def main() -> int:
    """Write both files of every language; the exit code says whether a text has no translation."""
    missing = 0
    for folder in sorted(LOCALES.iterdir()):
        catalog = brought_up_to_date(read(folder.name))
        file(folder.name, "po").write_bytes(as_po(catalog))
        file(folder.name, "mo").write_bytes(as_mo(catalog))
        for message in catalog:
            if message.id and not message.string:
                missing += 1
                print(f"{folder.name}: no translation: {message.id!r}")
        print(f"{folder.name}: {len(catalog)} texts")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
