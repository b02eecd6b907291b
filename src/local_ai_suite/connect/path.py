"""Where a value lies in a configuration: keys, and list items found by one of their fields."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Item:
    """The item of a list whose field ``key`` is ``value``."""

    key: str
    value: str


Path = tuple[str | Item, ...]


class NotInText(ValueError):
    """The place is not one that lines can be put into, or taken out of, as the file is written."""


@dataclass(frozen=True, slots=True)
class Edit:
    """``value`` at ``path``. With ``only_if_absent`` a value that is there stays."""

    path: Path
    value: Any
    only_if_absent: bool = False


def lines_of(text: str) -> list[str]:
    """The lines with their ends. Only a line feed ends one: ``str.splitlines`` also splits at
    characters that these formats take for text."""
    return [line for line in re.split(r"(?<=\n)", text) if line]


def same_item(value: Any, item: Item) -> bool:
    return isinstance(value, dict) and value.get(item.key) == item.value


def find(data: Any, path: Path) -> Any:
    """The value at ``path`` in plain data, ``None`` when it is not there."""
    for step in path:
        if isinstance(step, Item):
            items = data if isinstance(data, list) else []
            data = next((value for value in items if same_item(value, step)), None)
        else:
            data = data.get(step) if isinstance(data, dict) else None
        if data is None:
            return None
    return data


def as_json(path: Path) -> list[Any]:
    return [{s.key: s.value} if isinstance(s, Item) else s for s in path]


def from_json(steps: list[Any]) -> Path:
    return tuple(Item(*next(iter(s.items()))) if isinstance(s, dict) else str(s) for s in steps)
