"""Options and printing that every verb shares.

Everything that a command prints goes through here, so that text of others (a model's name, a hub's
file name, a log's line) never reaches the terminal raw: it could move the cursor, change the title,
write the clipboard or turn the order of letters around.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click

from local_ai_suite.messages import say, translated
from local_ai_suite.messages.plain import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_ai_suite.result import Result

F = TypeVar("F", bound="Callable[..., Any]")
# C1 controls, and marks that change the direction of writing; JSON itself escapes C0.
_ACTING = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def json_option(function: F) -> F:
    """``--json``: the answer as one JSON envelope on stdout (see ``result.py``)."""
    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")(function)


def echo(text: str = "", *, err: bool = False, nl: bool = True, **style: Any) -> None:
    """Print ``text`` with every control character and direction mark as a visible sign.

    ``style``: as ``click.secho`` takes it.
    """
    if any(style.values()):
        click.secho(visible(translated(text)), err=err, nl=nl, **style)
    else:
        click.echo(visible(translated(text)), err=err, nl=nl)


def echo_data(text: str) -> None:
    """Print what a program may read: as it is in a pipe, visible on a terminal."""
    click.echo(visible(text) if sys.stdout.isatty() else text)


def echo_json(text: str) -> None:
    """Print JSON; what would act on a terminal is escaped, and the value stays the same."""
    click.echo(_ACTING.sub(lambda found: f"\\u{ord(found.group()):04x}", text))


def rewrite_line(text: str) -> None:
    """Write over the terminal's current line on stderr."""
    click.echo(f"\r\033[K{visible(text)}", err=True, nl=False)


def show(result: Result, *, as_json: bool) -> int:
    """Print ``result`` and return the exit code. Warnings go to stderr."""
    if as_json:
        echo_json(result.as_json())
    else:
        for warning in result.warnings:
            echo(say("warning: {warning}", warning=warning), err=True)
        if result.text:
            echo_data(translated(result.text))
    return result.exit_code
