"""A process that dies at any step, and two that want the same approval."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from approval_room import Room

from local_ai_suite.errors import ApprovalError

HERE = Path(__file__).parent
SECONDS = 60  # several Python starts on a busy machine

STEPS = ("locked", "moved", "noted", "begun", "executed", "ended", "recorded")
# Before "begun" nothing has run; from "executed" on the trace is there, once.
RAN = {"executed", "ended", "recorded"}

RUN = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from approval_room import Room
room = Room(Path(sys.argv[2]))
step_to_die_at = sys.argv[4]
def step(name):
    if name == step_to_die_at:
        os.kill(os.getpid(), signal.SIGKILL)
gate = room.open(on_step=step)
print(gate.execute(sys.argv[3]).state)
"""

RACE = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from approval_room import Room
from local_ai_suite.errors import ApprovalError
room = Room(Path(sys.argv[2]))
request = room.gate.get(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
won = ""
try:
    room.approve(request)
    won = "approved "
except ApprovalError:
    pass
try:
    won += room.gate.execute(request.id).state
except ApprovalError as exc:
    won += "refused"
print(won)
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(HERE), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_it_is_never_run_twice(room: Room, step: str) -> None:
    request = room.ask()
    room.approve(request)
    process = start(RUN, room.folder, request.id, step)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == -signal.SIGKILL, errors
    assert room.trace() == (["hello"] if step in RAN else [])

    room.gate.sweep()
    state = room.gate.get(request.id).state
    # Killed before the move was committed, nothing has begun. What the log calls begun is never
    # begun again, even though the queue still says "approved" then.
    assert state == {"locked": "approved", "moved": "approved", "noted": "approved"}.get(
        step, "done" if step == "recorded" else "unknown"
    )
    if step in {"locked", "moved"}:
        assert room.gate.execute(request.id).state == "done"
    else:
        with pytest.raises(ApprovalError):
            room.gate.execute(request.id)
    assert room.trace().count("hello") <= 1
    assert room.audit.verify().ok
    if step == "noted":
        assert room.gate.get(request.id).state == "unknown"


def test_of_two_processes_that_race_for_one_approval_one_wins(room: Room) -> None:
    for round_number in range(3):
        request = room.ask(note=f"race {round_number}")
        racers = [start(RACE, room.folder, request.id) for _ in range(3)]
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        answers = [racer.communicate("go\n", timeout=SECONDS) for racer in racers]
        said = [out.strip() for out, _ in answers]
        assert all(racer.returncode == 0 for racer in racers), answers
        assert sum("approved" in words for words in said) == 1, said
        assert sum("done" in words for words in said) == 1, said
        assert room.trace().count(f"race {round_number}") == 1
    assert room.audit.verify().ok


def test_a_run_that_is_still_going_is_left_alone(room: Room) -> None:
    request = room.ask()
    room.approve(request)
    states: list[str] = []

    def look(step: str) -> None:
        if step == "begun":
            other = Room(room.folder, clock=room.clock)
            other.gate.sweep()
            states.append(other.gate.get(request.id).state)
            with pytest.raises(ApprovalError, match=r"executing|another process"):
                other.gate.execute(request.id)
            other.gate.close()

    room.open(on_step=look)
    assert room.gate.execute(request.id).state == "done"
    assert states == ["executing"]
    assert room.trace() == ["hello"]
