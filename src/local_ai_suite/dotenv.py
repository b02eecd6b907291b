"""Read ``.env`` as Docker Compose reads it.

Format: compose-go's ``dotenv`` package (a fork of godotenv): ``KEY=value`` lines, ``export``,
``#`` comments, single quotes (literal), double quotes (escapes and ``$`` expansion), unquoted
values (``$`` expansion, an inline comment starts at `` #``), CRLF or LF.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Entry:
    """A value and the line (from 1) that set it."""

    value: str
    line: int


def parse(
    text: str,
    environ: Mapping[str, str],  # noqa: ARG001
    *,
    name: str = ".env",  # noqa: ARG001
) -> dict[str, Entry]:
    """All entries of ``text``. ``environ`` is asked first for ``$NAME``, as Compose does."""
    entries: dict[str, Entry] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip().removeprefix("export ").strip()
        if not line or line.startswith("#"):
            continue
        key, _, value = line.partition("=")
        value = value.strip()
        if value[:1] in {"'", '"'} and value.count(value[0]) > 1:
            value = value[1 : value.index(value[0], 1)]
        else:
            value = value.split(" #")[0].strip()
        entries[key.strip()] = Entry(value, number)
    return entries
