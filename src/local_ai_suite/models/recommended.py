"""The short catalogue of models that work well on a PC with a GPU of 6 GB, or with none."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

_FILE = "recommended.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommended:
    """One entry. ``gigabytes`` is about right (10^9 bytes); the hub knows the exact size.

    ``default_for`` is the role (``chat``, ``code``, ``embed``, ``rerank``) whose name alone means
    this model.
    Without a ``repo`` it is built from a package of the Python index (``demo.embedding``).
    """

    name: str
    title: str
    kind: Literal["chat", "code", "embed", "rerank"]
    file: str
    gigabytes: float
    fits_6gb: str
    licence: str
    default_for: str | None = None
    repo: str | None = None


@cache
def recommended() -> tuple[Recommended, ...]:
    """All entries, in the file's order."""
    text = files(__package__).joinpath(_FILE).read_text(encoding="utf-8")
    return tuple(Recommended(name=name, **entry) for name, entry in tomllib.loads(text).items())


def find(word: str) -> Recommended | None:
    """The entry called ``word``, by its name, its file's name or the role it is the default for."""
    wanted = word.lower()
    for name in (wanted, wanted.removeprefix("local-")):
        for entry in recommended():
            if name in {entry.name, entry.file.lower(), entry.default_for}:
                return entry
    return None


def near(word: str) -> str | None:
    """The name that was probably meant."""
    names = [entry.name for entry in recommended()]
    return next(iter(difflib.get_close_matches(word.lower(), names, n=1)), None)
