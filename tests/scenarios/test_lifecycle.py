"""Up and down when things go wrong around them: Ctrl-C, a closed terminal, a second clone."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stack_project import Project, close, new_project

WAIT_S = 60.0
UP = [sys.executable, "-m", "local_ai_suite", "up"]


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def services(project: Project) -> list[str]:
    """The service processes of a run, by module."""
    found = []
    for process in project.processes():
        words = process.cmdline()
        found += [word for word in words if word.startswith("local_ai_suite.")]
    return found


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Project]:
    project = new_project(tmp_path / "second clone")
    yield project
    close(project)


def test_ctrl_c_during_up_leaves_nothing_running(fresh: Project) -> None:
    up = subprocess.Popen(
        UP, env=fresh.environ(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: "local_ai_suite.engine.server" in services(fresh))
    up.send_signal(signal.SIGINT)
    time.sleep(0.2)
    up.send_signal(signal.SIGINT)  # a person presses it twice
    _, stderr = up.communicate(timeout=WAIT_S)
    # The second may meet an interpreter that is ending already: a shell calls both 130.
    assert up.returncode in {130, -signal.SIGINT}
    assert "Traceback" not in stderr
    assert not fresh.processes()
    assert not (fresh.folder / ".state" / "run.json").exists()


def test_sigterm_during_up_leaves_nothing_running(fresh: Project) -> None:
    up = subprocess.Popen(UP, env=fresh.environ(), stderr=subprocess.PIPE, text=True)
    wait_until(lambda: "local_ai_suite.engine.server" in services(fresh))
    up.terminate()
    _, stderr = up.communicate(timeout=WAIT_S)
    assert up.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in stderr
    assert not fresh.processes()
    assert not (fresh.folder / ".state" / "run.json").exists()


def test_a_closed_terminal_ends_nothing_and_down_still_works(fresh: Project) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(UP[0], UP, fresh.environ())
    wait_until(lambda: "local_ai_suite.gateway.server" in services(fresh))
    os.close(terminal)  # the kernel sends SIGHUP to the terminal's session
    os.waitpid(pid, 0)
    # `up` itself was ended with its terminal; what it started in sessions of their own goes on.
    assert "local_ai_suite.engine.server" in services(fresh)
    assert fresh.chat_until_answered()["choices"]
    done = fresh.lais("down")
    assert done.returncode == 0, done.stderr
    assert not fresh.processes()


def test_two_clones_do_not_touch_each_other(fresh: Project, second: Project) -> None:
    assert fresh.lais("up").returncode == 0
    own = dict(second.ports)
    second.ports["API_GATEWAY_PORT"] = fresh.gateway
    refused = second.lais("up")
    assert refused.returncode != 0
    assert str(fresh.folder) in refused.stderr, "the other clone is named"
    second.ports.update(own)
    assert second.lais("up").returncode == 0
    assert second.lais("down").returncode == 0
    assert not second.processes()
    assert fresh.chat_until_answered()["choices"]
    assert json.loads(fresh.lais("status", "--json").stdout)["data"]["healthy"]


def test_two_ups_at_once_make_one_stack(fresh: Project) -> None:
    ups = [
        subprocess.Popen(
            UP, env=fresh.environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    ended = [up.communicate(timeout=WAIT_S) for up in ups]
    assert [up.returncode for up in ups] == [0, 0], ended
    running = services(fresh)
    assert running.count("local_ai_suite.stack.supervisor") == 1
    assert running.count("local_ai_suite.gateway.server") == 1


def test_a_supervisor_killed_alone_is_cleaned_up_by_down(fresh: Project) -> None:
    assert fresh.lais("up").returncode == 0
    supervisor = next(p for p in fresh.processes() if any("supervisor" in w for w in p.cmdline()))
    supervisor.kill()
    status = fresh.lais("status", "--json")
    assert status.returncode == 1
    done = fresh.lais("down")
    assert done.returncode == 0, done.stderr
    assert not fresh.processes()


def test_a_wrong_setting_stops_restart_before_it_stops_the_stack(fresh: Project) -> None:
    assert fresh.lais("up").returncode == 0
    fresh.environment["CTX_SIZE"] = "plenty"
    done = fresh.lais("restart")
    assert done.returncode == 3
    assert "CTX_SIZE" in done.stderr
    del fresh.environment["CTX_SIZE"]
    assert fresh.chat_until_answered()["choices"]


def test_the_env_file_is_made_once_private_and_with_a_key(fresh: Project) -> None:
    env_file = fresh.folder / ".env"
    assert fresh.lais("up").returncode == 0
    text = env_file.read_text()
    key = next(line for line in text.splitlines() if line.startswith("LITELLM_MASTER_KEY="))
    assert len(key) > len("LITELLM_MASTER_KEY=") + 20
    assert env_file.stat().st_mode & 0o777 == 0o600
    assert fresh.lais("restart").returncode == 0
    assert env_file.read_text() == text
    secret = key.partition("=")[2]
    shown = [" ".join(process.cmdline()) for process in fresh.processes()]
    shown += [path.read_text(errors="replace") for path in (fresh.folder / ".state").rglob("*.log")]
    assert not any(secret in text for text in shown), "no secret in argv or logs"


def test_a_gateway_that_hangs_is_not_called_healthy(fresh: Project) -> None:
    assert fresh.lais("up").returncode == 0
    gateway = next(p for p in fresh.processes() if "local_ai_suite.gateway.server" in p.cmdline())
    gateway.suspend()
    try:
        status = fresh.lais("status", "--json")
    finally:
        gateway.resume()
    assert status.returncode == 1
    phases = {s["name"]: s["phase"] for s in json.loads(status.stdout)["data"]["services"]}
    assert phases == {"inference": "ready", "api-gateway": "stuck"}


def test_another_address_serves_this_machine_too(fresh: Project) -> None:
    fresh.environment |= {"BIND_ADDRESS": "127.0.0.2", "LISTEN_ADDRESS": "127.0.0.2"}
    done = fresh.lais("up")
    assert done.returncode == 0, done.stderr
    assert fresh.chat_until_answered()["choices"]
