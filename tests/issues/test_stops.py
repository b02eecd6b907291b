"""A run that is stopped in the middle, by whatever, loses nothing that was written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from plan_desk import SECONDS, Desk, FakeServer, fill, schema_of

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def stalling(server: Callable[..., FakeServer]) -> tuple[FakeServer, threading.Event]:
    """Answers three sections, then waits for the event before each further answer."""
    go = threading.Event()

    def answer(body: dict[str, Any]) -> str:
        if len(one.chats) > 3:
            go.wait(SECONDS)
        return json.dumps(fill(schema_of(body), lambda most: "Good."[:most]))

    one = server(answer)
    return one, go


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_what_was_written_before_the_stop_is_not_written_again(
    desk: Callable[[int], Desk],
    stalling: tuple[FakeServer, threading.Event],
    how: signal.Signals,
) -> None:
    one, go = stalling
    room = desk(one.port)
    process = subprocess.Popen(
        [sys.executable, "-m", "local_ai_suite", "plan", "1"],
        cwd=room.repository,
        env=room.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        seen = ""
        while "4/9" not in seen:
            line = process.stderr.readline()
            assert line, seen
            seen += line
        os.kill(process.pid, how)
        _, rest = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert process.returncode == (130 if how == signal.SIGINT else -how), rest
    state = json.loads((room.repository / "plans" / "issue-1.state.json").read_text())
    assert list(state["sections"]) == ["analysis", "investigation", "strategy"]
    assert not (room.repository / "plans" / "issue-1.md").exists()

    go.set()
    done = room.plan("1", "--json")
    assert done.code == 0, done.err
    assert done.data["resumed_sections"] == 3


def test_a_server_that_goes_away_in_the_middle_is_told_and_the_sections_are_kept(
    desk: Callable[[int], Desk], server: Callable[..., FakeServer]
) -> None:
    def answer(body: dict[str, Any]) -> str:
        if len(one.chats) == 3:
            raise ConnectionAbortedError
        return json.dumps(fill(schema_of(body), lambda most: "Good."[:most]))

    one = server(answer)
    room = desk(one.port)
    done = room.plan("1")
    assert done.code == 7, done.err
    state = json.loads((room.repository / "plans" / "issue-1.state.json").read_text())
    assert len(state["sections"]) == 2


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"version": 1}', '{"sections": 3}', "\x00"])
def test_a_damaged_state_file_means_beginning_anew(
    desk: Callable[[int], Desk], server: Callable[..., FakeServer], damage: str
) -> None:
    one = server(lambda body: json.dumps(fill(schema_of(body), lambda most: "Good."[:most])))
    room = desk(one.port)
    (room.repository / "plans").mkdir()
    (room.repository / "plans" / "issue-1.state.json").write_text(damage)
    done = room.plan("1", "--json")
    assert done.code == 0, done.err
    assert done.data["resumed_sections"] == 0
