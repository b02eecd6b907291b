"""A process that dies at any step, and two that want the same approval."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from approval_room import Room

from local_ai_suite.approvals.policy import Policy
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


OWN = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from approval_room import Room
room = Room(Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
print(",".join(str(room.gate.execute(identity).state) for identity in sys.argv[3].split(",")))
"""

EITHER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from approval_room import Room
from local_ai_suite.errors import ApprovalError
room = Room(Path(sys.argv[2]))
request = room.gate.get(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
try:
    room.approve(request) if sys.argv[4] == "yes" else room.gate.reject(request.id, "no")
    print(sys.argv[4])
except ApprovalError:
    print("late")
"""


def together(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Let all of them go at once; what each said."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = []
    for process in processes:
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, err
        said.append(out.strip())
    return said


def test_processes_that_execute_at_once_leave_one_whole_log(tmp_path: Path) -> None:
    """Over the point at which the checkpoint is written, too."""
    room = Room(tmp_path, policy=Policy(most_per_minute=100))
    turns: list[list[str]] = [[], [], []]
    for number in range(18):
        request = room.ask(note=f"note {number}")
        room.approve(request)
        turns[number % 3].append(request.id)
    said = together([start(OWN, tmp_path, ",".join(turn)) for turn in turns])
    assert said == [",".join(["done"] * 6)] * 3
    assert sorted(room.trace()) == sorted(f"note {number}" for number in range(18))
    assert room.audit.verify().ok
    assert room.places.checkpoint.exists()


def test_of_a_yes_and_a_no_at_once_one_counts(tmp_path: Path) -> None:
    room = Room(tmp_path)
    for number in range(4):
        request = room.ask(note=f"note {number}")
        said = together([start(EITHER, tmp_path, request.id, word) for word in ("yes", "no")])
        state = room.gate.get(request.id).state
        # A no also takes back an approval that has not been used; a yes never undoes a no.
        assert state == "rejected" or said == ["yes", "late"]
        assert said != ["late", "late"]
        assert room.audit.verify().ok
