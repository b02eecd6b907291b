"""``lais ai -i``: a conversation with history, several lines, commands and completion.

Ctrl-C stops the answer, or empties the line; Ctrl-D leaves.
"""

from __future__ import annotations

import signal
import sys
import termios
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings

from local_ai_suite.chat.conversation import status_line
from local_ai_suite.chat.slash import COMMANDS, Slash
from local_ai_suite.cli import ai_turn
from local_ai_suite.cli.output import echo
from local_ai_suite.errors import SuiteError
from local_ai_suite.messages import say, translated
from local_ai_suite.messages.width import width
from local_ai_suite.result import error_as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.history import History as LineHistory
    from prompt_toolkit.key_binding import KeyPressEvent

    from local_ai_suite.chat.conversation import Conversation
    from local_ai_suite.chat.history import History
    from local_ai_suite.chat.sources import Source
    from local_ai_suite.cli.ai_screen import Screen
    from local_ai_suite.paths import Paths

_PROMPT = FormattedText([("bold", "lais> ")])
_MORE = "....> "
COLUMNS = 80  # of the narrowest terminal that people use
_TERMINATED = 128 + signal.SIGTERM  # what a shell would say


def run(
    talk: Conversation, history: History | None, screen: Screen, question: str,
    sources: Sequence[Source], paths: Paths,
) -> int:  # fmt: skip
    """Until the user leaves; 0. Errors are shown and the conversation goes on."""
    # `kill` must not leave a terminal without echo: it unwinds like Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    slash = Slash(talk, list(sources))
    session = _session(talk, _lines(history is not None, paths))
    screen.note(models_line(talk.client.base_url, [model.id for model in talk.models]))
    with _terminal_given_back():
        line: str | None = question or _typed(session)
        while line is not None:
            try:
                if line.strip() and not _one_line(talk, history, screen, line, slash):
                    return 0
            except SuiteError as exc:
                echo(error_as_text(exc), err=True)
            except KeyboardInterrupt:
                echo(say("stopped"), err=True)
            line = _typed(session)
    return 0


@contextmanager
def _terminal_given_back() -> Iterator[None]:
    """As it was, whatever happens: prompt_toolkit does it too, but not when a signal meets it
    between two steps of its own."""
    modes = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, modes)


def models_line(address: str, names: Sequence[str]) -> str:
    """Where the answers come from and from which models, in one line of a narrow terminal."""
    line = f"{address}: " + (names[0] if names else say("no models"))
    for number, name in enumerate(names[1:], 1):
        more = say(" and {count} more (/model)", count=len(names) - number)
        last = number == len(names) - 1
        if width(line) + len(name) + 2 + (0 if last else width(more)) > COLUMNS:
            return line + more
        line += f", {name}"
    return line


def _typed(session: PromptSession[str]) -> str | None:
    """The next line, empty after Ctrl-C, ``None`` after Ctrl-D."""
    try:
        return session.prompt(_PROMPT)
    except KeyboardInterrupt:
        return ""
    except EOFError:
        return None


def _one_line(
    talk: Conversation, history: History | None, screen: Screen, line: str, slash: Slash
) -> bool:
    """Carry out a command or ask; false: leave."""
    turns = list(talk.turns)
    if slash.is_command(line):
        said = slash.run(line)
        if said.text:
            echo(translated(said.text), err=True)
        if said.leave:
            return False
        if said.question is None:
            return True
        line = said.question
    answered = False
    try:
        answered = _ask(talk, history, screen, line, slash)
    finally:
        if not answered:
            talk.turns = turns  # what /retry was to replace stays
    return True


def _ask(
    talk: Conversation, history: History | None, screen: Screen, line: str, slash: Slash
) -> bool:
    """Whether an answer, or a part of one, came."""
    files = list(slash.attached)
    ready = ai_turn.prepare(talk, screen, line, files)
    answer, stopped = screen.stream(talk.open(ready))
    slash.take_attached()
    if stopped:
        echo(say("stopped"), err=True)
    if trouble := talk.keep(ready, answer, history):
        screen.warn(trouble)
    screen.note(status_line(ready, answer))
    return bool(answer.text)


def _lines(kept: bool, paths: Paths) -> LineHistory:
    """What was typed, for the arrow keys: a private file, or nothing when history is off."""
    if not kept:
        return InMemoryHistory()
    path = ai_turn.history_path(paths).with_name("lines")
    try:
        path.touch(mode=0o600)
        path.chmod(0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


def _session(talk: Conversation, lines: LineHistory) -> PromptSession[str]:
    keys = KeyBindings()

    @keys.add("enter")
    def _send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    # Not Ctrl-J too: an Enter that was typed while an answer came arrives as one.
    @keys.add("escape", "enter")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return PromptSession(
        history=lines,
        completer=_Words(talk),
        complete_while_typing=False,
        key_bindings=keys,
        multiline=True,
        prompt_continuation=_MORE,
        enable_history_search=True,
    )


class _Words(Completer):
    """Commands after ``/``, models after ``/model``, files after ``/file`` and ``/save``."""

    def __init__(self, talk: Conversation) -> None:
        self._talk = talk
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        if not text.startswith("/"):
            return
        word, space, rest = text.partition(" ")
        if not space:
            for name, what in COMMANDS.items():
                if name.startswith(word):
                    yield Completion(name, -len(word), display_meta=translated(what))
        elif word == "/model":
            names = ["auto", *(model.id for model in self._talk.models)]
            yield from (Completion(name, -len(rest)) for name in names if name.startswith(rest))
        elif word in {"/file", "/save"}:
            last = rest.rpartition(" ")[2]
            yield from self._paths.get_completions(Document(last, len(last)), event)
