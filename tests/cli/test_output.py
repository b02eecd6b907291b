"""No text of others reaches a terminal raw: one printer, and each source of such text fed."""

from __future__ import annotations

import ast
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local_ai_suite.cli import output
from local_ai_suite.cli.models_progress import Bar, Lines
from local_ai_suite.cli.status import _print as print_log_line
from local_ai_suite.demo.gguf_writer import U32, Tensor, TensorType, gguf_bytes
from local_ai_suite.result import Result

if TYPE_CHECKING:
    from local_ai_suite.paths import Paths

CLI = Path(output.__file__).parent
# Clears the screen, writes the clipboard (OSC 52), turns letters around, a C1 control.
HOSTILE = "evil\x1b[2J\x1b]52;c;cm0gLXJm\x07\u202egnp.exe\x9b31m"
RAW = ("\x1b", "\x07", "\u202e", "\x9b")
# Who may write to a stream: the printer, and what shows an answer piece by piece (it escapes too).
WRITERS = {
    ("output.py", "click.echo"),
    ("output.py", "click.secho"),
    ("ai_screen.py", "sys.stdout.write"),
}


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


@pytest.mark.parametrize("path", sorted(CLI.glob("*.py")), ids=lambda path: path.name)
def test_commands_print_through_the_one_printer(path: Path) -> None:
    raw = {
        "print",
        "click.echo",
        "click.secho",
        "click.style",
        "sys.stdout.write",
        "sys.stderr.write",
    }
    calls = {
        called(node)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    }
    assert {(path.name, name) for name in calls & raw} - WRITERS == set()


def on_a_terminal(*arguments: str, **environ: str) -> str:
    """What ``lais ARGUMENTS`` writes to a terminal, stdout and stderr together."""
    screen, inside = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "local_ai_suite", *arguments],
        stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
        env={**os.environ, "NO_COLOR": "1", "TERM": "dumb", **environ},
    ) as process:  # fmt: skip
        os.close(inside)
        seen = b""
        while True:
            try:
                piece = os.read(screen, 65_536)
            except OSError:  # Linux: the other side is closed
                break
            if not piece:
                break
            seen += piece
        process.wait(30)
    os.close(screen)
    return seen.decode("utf-8", "replace")


def model(path: Path, **metadata: object) -> Path:
    weights = Tensor("token_embd.weight", (8,), TensorType.F32, bytes(32))
    keys = {"general.architecture": "llama", "llama.block_count": U32(1), **metadata}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gguf_bytes(keys, [weights]))  # type: ignore[arg-type]
    return path


def test_what_a_model_calls_itself_is_shown_and_does_nothing(paths: Paths) -> None:
    path = model(paths.project / "models" / "m.gguf", **{"general.name": HOSTILE})
    for arguments in (["models", "inspect", str(path)], ["models", "inspect", str(path), "--json"]):
        seen = on_a_terminal(*arguments, LAIS_PROJECT=str(paths.project))
        assert "evil" in seen
        assert not [sign for sign in RAW if sign in seen]
    found = json.loads(
        on_a_terminal("models", "inspect", str(path), "--json", LAIS_PROJECT=str(paths.project))
    )
    assert found["data"]["name"] == HOSTILE, "escaped, and still the same value"


def test_a_files_name_in_an_error_does_nothing(paths: Paths) -> None:
    for name in (HOSTILE, f"{HOSTILE}.gguf"):
        seen = on_a_terminal("models", "inspect", name, LAIS_PROJECT=str(paths.project))
        assert "evil" in seen
        assert not [sign for sign in RAW if sign in seen]
    model(paths.project / "models" / f"{HOSTILE}.gguf")
    seen = on_a_terminal("models", "list", LAIS_PROJECT=str(paths.project))
    assert "evil" in seen
    assert not [sign for sign in RAW if sign in seen]


def test_warnings_and_errors_are_escaped_and_a_pipe_gets_the_text_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.show(Result("x", HOSTILE, {}, (HOSTILE,)), as_json=False)
    said = capsys.readouterr()
    assert said.out.endswith("\u202egnp.exe\x9b31m\n")
    assert "evil" in said.err
    assert not [sign for sign in RAW if sign in said.err]


def test_a_services_log_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_log_line("inference", HOSTILE, {})
    said = capsys.readouterr().out
    assert said.startswith("inference    | evil\\x1b[2J")
    assert not [sign for sign in RAW if sign in said]


def test_a_line_that_is_rewritten_is_escaped_too(capsys: pytest.CaptureFixture[str]) -> None:
    output.rewrite_line(HOSTILE)
    said = capsys.readouterr().err
    assert said.startswith("\revil")  # the sequence that clears the line is for terminals alone
    assert not [sign for sign in RAW if sign in said]


def test_a_hubs_file_name_does_nothing_in_a_download_with_a_bar_and_without(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for progress in (Lines(), Bar()):
        with progress:
            progress.start(f"[red]{HOSTILE}", 100, 0)
            progress.advance(100)
            progress.note(f"{HOSTILE}: from the first byte")
        said = capsys.readouterr().err
        assert said.count("evil\\x1b[2J") >= 2
        assert "[red]evil" in said, "and what looks like markup is text"
        assert not [sign for sign in RAW if sign in said]
