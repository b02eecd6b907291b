"""What the assistant's commands share: a question made ready, a conversation taken up."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from local_ai_suite.cli.output import echo
from local_ai_suite.errors import ContextOverflow, UsageError
from local_ai_suite.messages import say, tr, translated

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from local_ai_suite.chat.conversation import Conversation, Ready
    from local_ai_suite.chat.history import History
    from local_ai_suite.chat.sources import Source
    from local_ai_suite.cli.ai_screen import Screen
    from local_ai_suite.paths import Paths

INTERRUPTED = 130  # 128 + SIGINT, what a shell expects
_STATUS_UNLOADED = "unloaded"


def history_path(paths: Paths) -> Path:
    """Where the conversations are."""
    return paths.state / "ai" / "history.sqlite3"


def resume(talk: Conversation, history: History | None, number: int | None) -> None:
    """Take up conversation ``number``, or the last one."""
    if history is None:
        raise UsageError(
            tr("conversations are not kept here, so there is none to go on with"),
            hint=tr("AI_HISTORY in .env must be on."),
        )
    number = history.latest() if number is None else number
    if number is None:
        raise UsageError(tr("there is no conversation yet"), hint=tr("Ask without --continue."))
    talk.resume(number, history.messages(number))


def prepare(talk: Conversation, screen: Screen, question: str, sources: Sequence[Source]) -> Ready:
    """Choose and check; a person is asked whether to cut what is too long."""
    try:
        ready = talk.prepare(question, sources)
    except ContextOverflow as exc:
        if not sources or talk.wishes.cut or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        echo(f"{translated(exc.message)}\n  {translated(exc.hint)}", err=True)
        if not click.confirm(say("Cut it to fit?"), err=True):
            raise
        wishes = talk.wishes
        talk.wishes = replace(wishes, cut=True)
        try:
            ready = talk.prepare(question, sources)
        finally:
            talk.wishes = wishes
    screen.note(f"{ready.model} ({translated(ready.reason)})")
    status = next((model.status for model in talk.models if model.id == ready.model), None)
    if status == _STATUS_UNLOADED:
        screen.note(say("{model} is being loaded", model=ready.model))
    for note in ready.notes:
        screen.warn(note)
    return ready
