"""Two commands at once: bounded, truthful, and nothing is left or taken that is somebody else's."""

from __future__ import annotations

import itertools
import json
import random
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from local_ai_suite.demo import write_scripted_gguf
from local_ai_suite.errors import StackError
from local_ai_suite.process import is_alive
from stack_project import Project, close, new_project

# Far above what is measured (3 s on an idle machine, 12 s on two cores that eight others use), and
# below the 35 s that `down` once took.
BOUND_S = 30.0
WAIT_S = 90.0
LAIS = [sys.executable, "-m", "local_ai_suite"]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = new_project(tmp_path / "project")
    write_scripted_gguf(made.folder / "models" / "scripted.gguf")
    yield made
    close(made)


def begin(project: Project, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*LAIS, *words], env=project.environ(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def until_it_says(command: subprocess.Popen[str], words: str) -> str:
    """What it printed on stderr up to a line with ``words``."""
    said = ""
    assert command.stderr is not None
    while words not in said:
        line = command.stderr.readline()
        assert line, f"it ended without {words!r}: {said}"
        said += line
    return said


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def left_of(project: Project) -> list[str]:
    """What a run leaves of itself: processes, the run file, the settings that it kept."""
    state = project.folder / ".state"
    files = [state / "run.json", state / "run" / ".env"]
    return [
        *(" ".join(process.cmdline()) for process in project.processes() if is_alive(process)),
        *(str(file) for file in files if file.exists()),
    ]


@pytest.mark.parametrize("moment", ["choosing the runtime", "starting the services", "waiting for"])
def test_down_during_up_stops_it_at_once_and_both_say_so(project: Project, moment: str) -> None:
    up = begin(project, "up")
    until_it_says(up, moment)
    began = time.monotonic()
    down = project.lais("down")
    took = time.monotonic() - began
    printed, said = up.communicate(timeout=WAIT_S)
    assert down.returncode == 0, down.stderr
    assert took < BOUND_S
    if up.returncode == 0:
        assert "is up" in printed + said  # on a busy machine it is ready before `down` has begun
    else:
        assert up.returncode in {StackError.exit_code, 128 + signal.SIGTERM}, said
        assert "another command" in said
    assert "Traceback" not in said + down.stderr
    assert not left_of(project)


def test_down_ends_an_up_that_stands_still_with_the_lock_in_its_hand(project: Project) -> None:
    """Ctrl-Z in one terminal, `make down` in the other."""
    up = begin(project, "up")
    until_it_says(up, "starting the services")
    up.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    down = project.lais("down")
    assert down.returncode == 0, down.stderr
    assert time.monotonic() - began < BOUND_S
    up.send_signal(signal.SIGCONT)
    said = up.communicate(timeout=WAIT_S)[1]
    assert "another command" in said
    assert not left_of(project)


def test_an_up_that_waits_does_not_stop_what_somebody_started_later(project: Project) -> None:
    first = begin(project, "up")
    until_it_says(first, "waiting for")
    first.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        down = project.lais("down")  # the supervisor is a zombie then: its parent stands still
        assert time.monotonic() - began < BOUND_S
        assert down.returncode == 0, down.stderr
        second = project.lais("up")
        assert second.returncode == 0, second.stderr
    finally:
        first.send_signal(signal.SIGCONT)
    said = first.communicate(timeout=WAIT_S)[1]
    assert first.returncode != 0
    assert "another command stopped what was starting here" in said
    assert project.chat_until_answered()["choices"]
    assert json.loads(project.lais("status", "--json").stdout)["data"]["healthy"]


def test_an_engine_service_that_is_lost_while_a_model_loads_is_not_called_slow(
    project: Project, tmp_path: Path
) -> None:
    """Its death is told, with the end of its log, and not that LOAD_TIMEOUT has passed."""
    slow = tmp_path / "llama-server"
    fake = Path(__file__).parents[1] / "fakes" / "fake_llama_server.py"
    slow.write_text(f'#!/bin/sh\nexec {sys.executable} {fake} --load-delay 60 "$@"\n')
    slow.chmod(0o755)
    project.environment["LLAMA_SERVER"] = str(slow)
    up = begin(project, "up")
    until_it_says(up, "loading local-chat")
    project.process_of("engine").kill()
    said = up.communicate(timeout=WAIT_S)[1]
    assert up.returncode != 0
    assert "went away while it loaded local-chat" in said
    assert "was killed by SIGKILL" in said
    assert "is not loaded after" not in said
    assert not left_of(project)


def test_a_supervisor_that_stands_still_is_ended_by_down(project: Project) -> None:
    assert project.lais("up").returncode == 0
    supervisor = next(p for p in project.processes() if any("supervisor" in w for w in p.cmdline()))
    supervisor.suspend()
    began = time.monotonic()
    done = project.lais("down")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < BOUND_S
    assert not left_of(project)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 128 MiB of its own; only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", folder], check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip(f"NOT RUN: no small disk can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_ends_nothing_and_what_dies_of_it_comes_back(
    project: Project, small_disk: Path
) -> None:
    project.environment["LAIS_STATE"] = str(small_disk)
    assert project.lais("up").returncode == 0
    filling = small_disk / "fill"
    with filling.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 2**20):
                pass
        except OSError:
            pass
    assert project.chat_until_answered()["choices"]
    for room in ("gateway", "engine"):
        process = project.process_of(room)
        process.kill()
        psutil.wait_procs([process], timeout=WAIT_S)
    time.sleep(1)  # they may start meanwhile, or die of it, again and again
    filling.unlink()
    assert project.chat_until_answered()["choices"]
    until(lambda: project.status()["healthy"])
    reasons = [service["reason"] for service in project.status()["services"]]
    assert reasons
    assert all(f"the disk of {small_disk} is full" in reason for reason in reasons), reasons


COMMANDS = ("up", "down", "restart", "status", "logs")


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), list(itertools.product(COMMANDS, COMMANDS)))
@pytest.mark.parametrize("round_", range(2))
def test_any_two_commands_at_a_random_offset_end_and_leave_the_truth(
    project: Project, first: str, second: str, round_: int
) -> None:
    seed = zlib.crc32(f"{first} {second} {round_}".encode())
    offset = random.Random(seed).uniform(0, 4)
    print(f"seed {seed}, offset {offset:.2f} s")
    if first in {"down", "restart", "status", "logs"}:
        assert project.lais("up").returncode == 0
    one = begin(project, first)
    time.sleep(offset)
    two = begin(project, second)
    ended = [command.communicate(timeout=WAIT_S) for command in (one, two)]
    for (_, stderr), command in zip(ended, (one, two), strict=True):
        assert command.returncode in {0, 1, StackError.exit_code, 128 + signal.SIGTERM}, stderr
        assert "Traceback" not in stderr
    report = project.status()
    runs = bool(project.processes())
    assert report["running"] is runs
    if runs:
        until(lambda: project.status()["healthy"])
        assert project.chat_until_answered()["choices"]
    assert project.lais("down").returncode == 0
    assert not left_of(project)
