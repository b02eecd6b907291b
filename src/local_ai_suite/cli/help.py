"""The help pages in the terminal's language, for every command that there is.

Click keeps help texts as plain strings in its commands and options. They are looked up in the
catalogue when a command is fetched, so that a verb's file writes plain click and marks nothing.
"""

from __future__ import annotations

import inspect
import unicodedata
from typing import TYPE_CHECKING

import click

from local_ai_suite.messages import looked_up, speaks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Stands beside a letter that is two columns wide while click counts characters.
_SECOND_COLUMN = "\ue000"


def help_texts(command: click.Command) -> Iterator[str]:
    """Every text of the command's help pages, as :func:`translate_help` looks it up."""
    for text in (command.help, command.short_help, command.epilog):
        if text:
            yield inspect.cleandoc(text)
    for option in command.params:
        if isinstance(option, click.Option) and option.help:
            yield inspect.cleandoc(option.help)
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from help_texts(inner)


def translate_help(command: click.Command) -> None:
    """Give ``command`` and all commands in it the terminal's language; English is left alone."""
    if speaks() == "en":
        return
    command.context_class = _WideContext
    command.help = _in_language(command.help)
    command.short_help = _in_language(command.short_help)
    command.epilog = _in_language(command.epilog)
    for option in command.params:
        if isinstance(option, click.Option):
            option.help = _in_language(option.help)
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            translate_help(inner)


def _in_language(text: str | None) -> str | None:
    return looked_up(inspect.cleandoc(text)) if text else text


class _WideFormatter(click.HelpFormatter):
    """Click's formatter where a Korean syllable counts as the two columns that it takes."""

    def write_text(self, text: str) -> None:
        super().write_text(_spread(text))

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        super().write_dl([(_spread(a), _spread(b)) for a, b in rows], col_max, col_spacing)

    def getvalue(self) -> str:
        return super().getvalue().replace(_SECOND_COLUMN, "")


class _WideContext(click.Context):
    formatter_class = _WideFormatter


def _spread(text: str) -> str:
    return "".join(
        letter + _SECOND_COLUMN if unicodedata.east_asian_width(letter) in "WF" else letter
        for letter in text
    )
