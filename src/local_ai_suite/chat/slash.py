"""The commands of ``ai -i``: a line that starts with ``/`` is for the program, not the model."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from local_ai_suite.errors import UsageError
from local_ai_suite.messages import joined, tr
from local_ai_suite.paths import expanded

from .sources import read_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conversation import Conversation
    from .sources import Source

_PRIVATE = 0o600
COMMANDS: dict[str, str] = {
    "/help": tr("what there is"),
    "/model": tr("[NAME|auto]  the model for the next questions"),
    "/chat": tr("always the chat model"),
    "/code": tr("always the code model"),
    "/system": tr("[TEXT]  instructions to the model; none: remove them"),
    "/file": tr("FILE...  goes along with the next question"),
    "/drop": tr("the files don't go along after all"),
    "/cut": tr("from now on cut files and old turns that do not fit"),
    "/clear": tr("a new conversation"),
    "/retry": tr("ask the last question again"),
    "/save": tr("FILE  write the conversation as Markdown"),
    "/exit": tr("leave (Ctrl-D does too)"),
}


@dataclass(frozen=True, slots=True)
class Said:
    """What to show, what to ask next (``question``), and whether to leave."""

    text: str = ""
    question: str | None = None
    leave: bool = False


@dataclass(slots=True)
class Slash:
    """Carries out commands on ``conversation``. ``attached``: files for the next question."""

    conversation: Conversation
    attached: list[Source] = field(default_factory=list)

    def is_command(self, line: str) -> bool:
        """``/etc/hosts is what?`` is a question: a command is one word without another slash."""
        first = line.split(maxsplit=1)[0] if line.strip() else ""
        return first.startswith("/") and "/" not in first[1:] and len(first) > 1

    def run(self, line: str) -> Said:
        """Raises :class:`UsageError` for what is no command or does not work."""
        word, _, rest = line.strip().partition(" ")
        actions: dict[str, Callable[[str], Said]] = {
            "/help": self._help,
            "/model": self._model,
            "/chat": lambda _: self._kind("chat"),
            "/code": lambda _: self._kind("code"),
            "/system": self._system,
            "/file": self._file,
            "/drop": self._drop,
            "/cut": self._cut,
            "/clear": self._clear,
            "/retry": self._retry,
            "/save": self._save,
            "/exit": lambda _: Said(leave=True),
            "/quit": lambda _: Said(leave=True),
        }
        if word not in actions:
            raise UsageError(tr("{word} is no command", word=word), hint=" ".join(COMMANDS))
        return actions[word](rest.strip())

    def take_attached(self) -> list[Source]:
        """The files for this question; they go along once."""
        files, self.attached = self.attached, []
        return files

    def _help(self, _: str) -> Said:
        lines = [f"{name:8} " + what for name, what in COMMANDS.items()]
        lines.append(
            tr("Enter sends; Alt-Enter (Esc, Enter) starts a new line; Ctrl-C stops an answer.")
        )
        return Said(joined("\n", lines))

    def _model(self, name: str) -> Said:
        talk = self.conversation
        if not name:
            names = [f"{m.id}{f' ({m.kind})' if m.kind else ''}" for m in talk.models]
            now = talk.wishes.model or talk.wishes.kind or "auto"
            return Said(joined("\n", [tr("now: {now}", now=now), *names]))
        if name == "auto":
            talk.wishes = replace(talk.wishes, model=None, kind=None)
            return Said(tr("the question chooses the model"))
        if name not in {model.id for model in talk.models}:
            raise UsageError(
                tr("there is no model called {name}", name=name),
                hint=tr("There is: {models}", models=", ".join(model.id for model in talk.models)),
            )
        talk.wishes = replace(talk.wishes, model=name)
        return Said(tr("now: {name}", name=name))

    def _kind(self, kind: str) -> Said:
        talk = self.conversation
        talk.wishes = replace(talk.wishes, model=None, kind="code" if kind == "code" else "chat")
        return Said(tr("now: the {kind} model", kind=kind))

    def _system(self, text: str) -> Said:
        self.conversation.wishes = replace(self.conversation.wishes, system=text)
        return Said(tr("instructions set") if text else tr("instructions removed"))

    def _file(self, names: str) -> Said:
        if not names:
            waiting = ", ".join(source.name for source in self.attached) or "none"
            return Said(tr("files for the next question: {waiting}", waiting=waiting))
        try:
            paths = [expanded(name) for name in shlex.split(names)]
        except ValueError as exc:
            raise UsageError(tr("a quotation mark is missing: {names}", names=names)) from exc
        read = [read_file(path) for path in paths]
        self.attached += read
        sizes = joined(
            ", ",
            (tr("{name} ({size:,} characters)", name=o.name, size=len(o.text)) for o in read),
        )
        return Said(tr("goes along with the next question: {sizes}", sizes=sizes))

    def _drop(self, _: str) -> Said:
        names = ", ".join(source.name for source in self.take_attached())
        return Said(
            tr("left out: {names}", names=names) if names else tr("no file waits to go along")
        )

    def _cut(self, _: str) -> Said:
        self.conversation.wishes = replace(self.conversation.wishes, cut=True)
        return Said(tr("what does not fit is cut from now on, and said each time"))

    def _clear(self, _: str) -> Said:
        self.conversation.clear()
        self.attached.clear()
        return Said(tr("a new conversation"))

    def _retry(self, _: str) -> Said:
        turns = self.conversation.turns
        if not turns:
            raise UsageError(tr("there is no question to ask again"))
        question = str(turns[-2]["content"])
        del turns[-2:]
        return Said(question=question)

    def _save(self, name: str) -> Said:
        if not name:
            raise UsageError(tr("/save needs a file's name"))
        path = expanded(name)
        try:
            # Nothing that is there is overwritten; a conversation is its owner's alone.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(as_markdown(self.conversation.turns))
        except OSError as exc:
            raise UsageError(
                tr("{path} cannot be written: {strerror}", path=path, strerror=exc.strerror or exc)
            ) from exc
        return Said(tr("saved as {path}", path=path))


def as_markdown(turns: list[dict[str, str]]) -> str:
    """A conversation for a person."""
    names = {"user": "## You", "assistant": "## Model", "system": "## Instructions"}
    return "\n\n".join(f"{names[turn['role']]}\n\n{turn['content']}" for turn in turns) + "\n"
