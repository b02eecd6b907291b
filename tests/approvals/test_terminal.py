"""A person at a terminal approves; nothing else does. Driven over a pseudo-terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from local_ai_suite.approvals import open_gate
from local_ai_suite.approvals.places import find_places
from local_ai_suite.paths import find_paths
from screens import SECONDS, Screen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUESTION = "anything else leaves it waiting"


class Desk:
    """A project with a queue, and terminals to look at it."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        self.project.mkdir()
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "TERM": "xterm",
            "LANG": "C.UTF-8",
            "LAIS_PROJECT": str(self.project),
        }
        self.paths = find_paths(self.environ)
        self.screens: list[Screen] = []

    def ask(self, path: str = "notes.txt", content: str = "hello\n") -> str:
        arguments = {"path": path, "content": content, "old_sha256": "absent"}
        with open_gate(self.paths, self.environ) as gate:
            return gate.request("write_file", arguments, component="t", cwd=self.project).id

    def state(self, identity: str) -> str:
        with open_gate(self.paths, self.environ) as gate:
            gate.sweep()
            return str(gate.get(identity).state)

    def screen(self, *words: str, rows: int = 200) -> Screen:
        lais = [sys.executable, "-m", "local_ai_suite", "approvals", *words]
        made = Screen(lais, self.environ, rows)
        self.screens.append(made)
        return made

    def piped(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "local_ai_suite", "approvals", *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            env=self.environ,
            start_new_session=True,
        )

    def write_policy(self, text: str) -> None:
        places = find_places(self.paths, self.environ)
        places.make()
        places.policy.write_text(text)
        places.policy.chmod(0o600)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    for screen in made.screens:
        screen.kill()


def test_a_person_sees_everything_types_the_word_and_it_runs(desk: Desk) -> None:
    identity = desk.ask()
    screen = desk.screen("approve", identity)
    shown = screen.wait_for(QUESTION)
    assert "Write the file notes.txt" in shown
    assert "│ +hello" in shown
    assert "HIGH" in shown
    screen.type("approve\n")
    screen.wait_for("is done")
    assert screen.end() == 0
    assert (desk.project / "notes.txt").read_text() == "hello\n"


def test_anything_else_leaves_it_waiting(desk: Desk) -> None:
    identity = desk.ask()
    screen = desk.screen("approve", identity)
    screen.wait_for(QUESTION)
    screen.type("yes\n")
    screen.wait_for("was not approved")
    assert screen.end() == 8
    assert desk.state(identity) == "pending"
    assert not (desk.project / "notes.txt").exists()


def test_what_was_typed_before_the_question_does_not_answer_it(desk: Desk) -> None:
    identity = desk.ask()
    screen = desk.screen("approve", identity)
    screen.type("approve\napprove\n")
    screen.wait_for(QUESTION)
    screen.type("no\n")
    screen.wait_for("was not approved")
    assert screen.end() == 8
    assert desk.state(identity) == "pending"


def test_without_a_terminal_nothing_is_approved(desk: Desk) -> None:
    identity = desk.ask()
    done = desk.piped("approve", identity, stdin="approve\napprove\n")
    assert done.returncode == 8
    assert "wants a person at a terminal" in done.stderr
    assert desk.state(identity) == "pending"
    assert desk.piped("watch", stdin="a").returncode == 8


def test_half_a_terminal_is_none(desk: Desk) -> None:
    identity = desk.ask()
    words = f"{sys.executable} -m local_ai_suite approvals approve {identity}"
    screen = Screen(["/bin/sh", "-c", f"{words} | cat"], desk.environ)
    desk.screens.append(screen)
    screen.wait_for("wants a person at a terminal")
    screen.end()
    assert desk.state(identity) == "pending"


def test_a_critical_request_wants_the_code_that_its_terminal_shows(desk: Desk) -> None:
    desk.write_policy('[[rule]]\naction = "write_file"\ndecision = "critical"\n')
    identity = desk.ask()
    first = desk.screen("approve", identity)
    code = re.search(r"type this code: (\w{6})", first.wait_for("\n> "))
    assert code
    first.type("approve\n")
    assert first.end() == 8
    second = desk.screen("approve", identity)
    second.wait_for("type this code: ")
    second.wait_for("\n> ")
    second.type(f"{code[1]}\n")  # the other terminal's code
    assert second.end() == 8
    assert desk.state(identity) == "pending"
    third = desk.screen("approve", identity)
    code = re.search(r"type this code: (\w{6})", third.wait_for("\n> "))
    assert code
    third.type(f"{code[1]}\n")
    third.wait_for("is done")
    assert third.end() == 0


def test_escape_sequences_and_reversed_text_reach_no_terminal(desk: Desk) -> None:
    identity = desk.ask(content="\x1b[2J\x1b]0;owned\x07 safe \u202etxt.exe\n")
    screen = desk.screen("approve", identity)
    shown = screen.wait_for(QUESTION)
    assert "\x1b[2J" not in shown
    assert "\x1b]0" not in shown
    assert "\u202e" not in shown
    assert "⟨U+001B⟩" in shown
    assert "⟨U+202E⟩" in shown
    screen.type("no\n")
    screen.end()
    for words in (["list"], ["show", identity], ["audit"]):
        out = desk.piped(*words).stdout
        assert "\x1b" not in out
        assert "\u202e" not in out


def test_a_long_request_is_shown_screen_by_screen_to_its_end(desk: Desk) -> None:
    content = "".join(f"line number {number}\n" for number in range(100))
    identity = desk.ask(content=content)
    screen = desk.screen("approve", identity, rows=40)
    seen = ""
    while QUESTION not in screen.wait_for("more rows", QUESTION):
        seen += screen.seen
        screen.type("\n")
    seen += screen.seen
    assert all(f"line number {number}" in seen for number in range(100))
    screen.type("approve\n")
    screen.wait_for("is done")
    assert screen.end() == 0


def test_stopping_in_the_middle_of_a_long_request_approves_nothing(desk: Desk) -> None:
    identity = desk.ask(content="line\n" * 200)
    screen = desk.screen("approve", identity, rows=30)
    screen.wait_for("more rows")
    screen.type("q\n")
    screen.wait_for("was not approved")
    assert screen.end() == 8
    assert desk.state(identity) == "pending"


def test_watching_decides_with_one_key(desk: Desk) -> None:
    first = desk.ask("one.txt")
    screen = desk.screen("watch")
    screen.wait_for("any other key later")
    screen.type("a")
    screen.wait_for("is done")
    second = desk.ask("two.txt")
    screen.wait_for("any other key later")
    screen.type("r")
    screen.wait_for("is rejected")
    screen.type("\x03")
    assert screen.end() == 130
    assert desk.state(first) == "done"
    assert desk.state(second) == "rejected"
    assert not (desk.project / "two.txt").exists()


def test_watching_never_approves_a_critical_request_with_one_key(desk: Desk) -> None:
    desk.write_policy('[[rule]]\naction = "*"\ndecision = "critical"\n')
    identity = desk.ask()
    screen = desk.screen("watch")
    screen.wait_for("type this code: ")
    screen.type("a\n")
    screen.wait_for("was not approved")
    screen.type("\x03")
    screen.end()
    assert desk.state(identity) == "pending"


def test_watching_in_json_needs_no_terminal_and_decides_nothing(desk: Desk) -> None:
    identity = desk.ask(content="x\u202e\n")
    with subprocess.Popen(
        [sys.executable, "-m", "local_ai_suite", "approvals", "watch", "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=desk.environ,
    ) as watcher:
        assert watcher.stdout is not None
        first = json.loads(watcher.stdout.readline())
        second_id = desk.ask("two.txt")
        second = json.loads(watcher.stdout.readline())
        watcher.kill()
    assert (first["id"], first["state"], second["id"]) == (identity, "pending", second_id)
    assert desk.state(identity) == "pending"


def test_two_terminals_may_watch_and_only_one_of_them_runs_it(desk: Desk) -> None:
    identity = desk.ask()
    screens = [desk.screen("approve", identity) for _ in range(2)]
    for screen in screens:
        screen.wait_for(QUESTION)
    for screen in screens:
        screen.type("approve\n")
    codes = sorted(screen.end() for screen in screens)
    assert codes == [0, 8]
    assert desk.state(identity) == "done"
