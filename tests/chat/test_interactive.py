"""``lais ai -i`` and ``lais ai`` in a terminal, driven as a person would."""

from __future__ import annotations

import os
import signal
import stat
import sys
from typing import TYPE_CHECKING

import pytest
from terminal import Terminal

from local_ai_suite.cli.ai_interactive import models_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chat_servers import RawServer

    from local_ai_suite.paths import Paths

LAIS = [sys.executable, "-m", "local_ai_suite", "ai"]


@pytest.fixture
def talk(paths: Paths, port: int, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """``lais ai ARGUMENTS`` in a terminal of its own."""
    opened: list[Terminal] = []

    def start(*arguments: str, **more: str) -> Terminal:
        env = {**os.environ, "LAIS_PROJECT": str(paths.project), "API_GATEWAY_PORT": str(port)}
        opened.append(Terminal([*LAIS, *arguments], {**env, **more}))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.__exit__()


def test_a_conversation_with_commands_until_ctrl_d(
    talk: Callable[..., Terminal], paths: Paths, tmp_path: Path
) -> None:
    screen = talk("-i")
    screen.expect("/help shows the commands")
    screen.expect("lais>")
    screen.enter("tell me a shell joke")
    screen.expect("They flow.")  # rendered: no stars
    screen.expect("tokens/s")
    screen.enter("/model")
    screen.expect("now: auto")
    screen.enter("/model gpt-9")
    screen.expect("There is: local-chat")
    screen.enter("/nonsense")
    screen.expect("is no command")
    file = tmp_path / "joke.txt"
    file.write_text("a shell joke")
    screen.enter(f"/file {file}")
    screen.expect("goes along with the next question")
    screen.enter("what is in it?")
    screen.expect("They flow.")
    screen.expect("tokens/s")
    screen.enter(f"/save {tmp_path / 'talk.md'}")
    screen.expect("saved as")
    screen.expect("lais>")
    screen.type("\x04")
    assert screen.ends() == 0
    assert stat.S_IMODE((tmp_path / "talk.md").stat().st_mode) == 0o600
    saved = (tmp_path / "talk.md").read_text(encoding="utf-8")
    assert saved.count("## You") == 2
    assert "They **flow**." in saved
    lines = paths.state / "ai" / "lines"
    assert stat.S_IMODE(lines.stat().st_mode) == 0o600


def test_no_editor_that_the_environment_names_is_started(
    talk: Callable[..., Terminal], tmp_path: Path
) -> None:
    """Emacs' and vi's keys for it are typed; a folder's .envrc could have named the program."""
    mark, program = tmp_path / "ran", tmp_path / "editor"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    named = {name: str(program) for name in ("EDITOR", "VISUAL", "PAGER", "BROWSER", "SHELL")}
    screen = talk("-i", **named)
    screen.expect("lais>")
    screen.type("text\x18\x05")  # Ctrl-X Ctrl-E
    screen.type("\x1bv\x15")  # Escape v, and the line taken back
    screen.enter("/model")
    screen.expect("now: auto")
    screen.expect("lais>")
    screen.type("\x04")
    assert screen.ends() == 0
    assert not mark.exists()


def test_the_banner_comes_before_anything_slow(
    talk: Callable[..., Terminal], raw_server: Callable[..., RawServer]
) -> None:
    server = raw_server(b"", hold=True)  # accepts, and never answers
    screen = talk("-i", API_GATEWAY_PORT=server.url.split(":")[2].partition("/")[0])
    screen.expect("/help shows the commands; Ctrl-D leaves.")
    screen.ctrl_c()


def test_every_line_before_the_prompt_fits_80_columns(talk: Callable[..., Terminal]) -> None:
    screen = talk("-i")
    before = screen.expect("lais>")
    assert max(len(line) for line in before.splitlines()) <= 80


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 40])
def test_the_line_of_models_is_never_wider_than_80_columns(count: int) -> None:
    names = [f"model-{number:02}-instruct" for number in range(count)]
    line = models_line("http://127.0.0.1:8000/v1", names)
    assert len(line) <= 80
    listed = line.count("instruct")
    rest = int(line.rpartition(" and ")[2].split()[0]) if " more" in line else 0
    assert listed + rest == count


def test_ctrl_c_stops_the_answer_and_not_the_program(talk: Callable[..., Terminal]) -> None:
    screen = talk("-i", "--max-tokens", "1900")
    screen.expect("lais>")
    screen.enter("go on forever")
    screen.expect("tick tock")
    screen.ctrl_c()
    screen.expect("stopped")
    screen.expect("lais>")
    screen.type("half a line")
    screen.ctrl_c()  # empties the line
    screen.expect("lais>")
    screen.enter("/cut")  # the stopped answer may have filled the context
    screen.expect("cut from now on")
    screen.enter("안녕")
    screen.expect("안녕하세요! 무엇을 도와드릴까요?")
    screen.enter("/exit")
    assert screen.ends() == 0


def test_several_lines_are_one_question_and_tab_completes(talk: Callable[..., Terminal]) -> None:
    screen = talk("-i")
    screen.expect("lais>")
    screen.type("tell me a shell")
    screen.type("\x1b\r")  # Alt-Enter: the trigger "shell joke" now has a line's end in it
    screen.enter("joke")
    screen.expect("Hello from the scripted model.")
    screen.expect("lais>")
    screen.type("/mod\t")
    screen.expect("/model")
    screen.enter("")
    screen.expect("now: auto")
    screen.enter("/retry")
    screen.expect("tokens/s")
    screen.expect("lais>")
    screen.type("\x04")
    assert screen.ends() == 0


def test_errors_leave_the_conversation_open(paths: Paths, talk: Callable[..., Terminal]) -> None:
    screen = talk("-i")
    screen.expect("lais>")
    screen.enter("/file /nonexistent")
    screen.expect("/nonexistent cannot be read")
    screen.enter("/file ~nobody-here/x")
    screen.expect("~nobody-here/x cannot be read")
    screen.enter("/save /nonexistent/x")
    screen.expect("cannot be written")
    screen.enter("/retry")
    screen.expect("no question to ask again")
    long = paths.project / "long.txt"
    long.write_text("word " * 2500)
    screen.enter(f"/file {long}")
    screen.expect("goes along")
    screen.enter("what is this?")
    screen.expect("Cut it to fit?")
    screen.enter("n")
    screen.expect("error: the prompt has")
    screen.enter("/clear")  # the file with it
    screen.expect("a new conversation")
    screen.enter("안녕")
    screen.expect("안녕하세요!")
    screen.enter(f"/file {long}")
    screen.expect("goes along")
    screen.enter("/retry")
    screen.expect("Cut it to fit?")
    screen.enter("n")
    screen.expect("error: the prompt has")
    screen.enter("/drop")
    screen.expect("left out:")
    screen.enter("/retry")  # what it was to replace is still there
    screen.expect("안녕하세요!")


def test_a_later_session_goes_on_where_the_earlier_one_ended(
    talk: Callable[..., Terminal],
) -> None:
    first = talk("-i", "a shell joke")  # a question on the command line is the first one
    first.expect("They flow.")
    first.expect("lais>")
    first.type("\x04")
    assert first.ends() == 0
    second = talk("-i", "--continue")
    second.expect("lais>")
    second.enter("/retry")
    second.expect("They flow.")


def test_kill_gives_the_terminal_back(talk: Callable[..., Terminal]) -> None:
    screen = talk("-i")
    screen.expect("lais>")
    assert not screen.echoes
    screen.kill(signal.SIGTERM)
    assert screen.ends() == 128 + signal.SIGTERM
    assert screen.echoes


def test_with_history_off_nothing_typed_is_written(
    talk: Callable[..., Terminal], paths: Paths
) -> None:
    screen = talk("-i", AI_HISTORY="off")
    screen.expect("lais>")
    screen.enter("a shell joke")
    screen.expect("They flow.")
    screen.expect("lais>")
    screen.type("\x04")
    assert screen.ends() == 0
    assert not (paths.state / "ai").exists()


def test_on_a_terminal_markdown_is_rendered_and_raw_is_raw(talk: Callable[..., Terminal]) -> None:
    rendered = talk("a shell joke")
    rendered.expect("programmers like pipes?")
    rendered.expect("tokens/s")
    assert rendered.ends() == 0
    raw = talk("--raw", "a shell joke")
    raw.expect("programmers like *pipes*?")
    assert raw.ends() == 0


def test_a_person_is_asked_before_a_file_is_cut(
    talk: Callable[..., Terminal], tmp_path: Path
) -> None:
    long = tmp_path / "long.txt"
    long.write_text("a line of many words\n" * 2000)
    screen = talk("-f", str(long), "what is this?")
    screen.expect("2,048")
    screen.expect("Cut it to fit? [y/N]")
    screen.enter("y")
    screen.expect("was cut to")
    screen.expect("Hello from the scripted model.")
    assert screen.ends() == 0
    refused = talk("-f", str(long), "what is this?")
    refused.expect("[y/N]")
    refused.enter("n")
    refused.expect("the prompt has")
    assert refused.ends() == 7
