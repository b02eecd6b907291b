"""Options and printing that every verb shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from local_ai_suite.messages import say, translated

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_ai_suite.result import Result

F = TypeVar("F", bound="Callable[..., Any]")


def json_option(function: F) -> F:
    """``--json``: the answer as one JSON envelope on stdout (see ``result.py``)."""
    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")(function)


def show(result: Result, *, as_json: bool) -> int:
    """Print ``result`` and return the exit code. Warnings go to stderr."""
    if as_json:
        click.echo(result.as_json())
    else:
        for warning in result.warnings:
            click.echo(say("warning: {warning}", warning=warning), err=True)
        if result.text:
            click.echo(translated(result.text))
    return result.exit_code
