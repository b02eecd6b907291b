"""What `up`, `down` and `status` make of a Docker that is away, with a `docker` that can fail."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from local_ai_suite.errors import StackError
from local_ai_suite.paths import Paths
from local_ai_suite.settings import Settings
from local_ai_suite.stack import docker, runtime
from local_ai_suite.state import RunState, ServiceState, read_run, write_run

AWAY = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is it running?"
RUN = RunState(
    "docker", "p1", time.time(), None,
    (ServiceState("inference", 18001, "starting"), ServiceState("api-gateway", 18000, "starting")),
)  # fmt: skip


@pytest.fixture
def docker_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts a `docker` first on PATH that says one thing and writes down what it was asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    asked = tmp_path / "asked"
    asked.touch()

    def say(stdout: str = "", stderr: str = "", code: int = 0) -> Path:
        (folder / "stdout").write_text(stdout)
        (folder / "stderr").write_text(stderr)
        program = folder / "docker"
        program.write_text(
            f'#!/bin/sh\necho "$*" >>"{asked}"\n'
            f'cat "{folder}/stdout"\ncat "{folder}/stderr" >&2\nexit {code}\n'
        )
        program.chmod(0o755)
        return asked

    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return say


def quiet(_line: str) -> None:
    pass


def test_down_says_so_when_docker_is_away_and_still_knows_the_run_afterwards(
    paths: Paths, docker_says: Callable[..., Path]
) -> None:
    paths.ensure_state()
    write_run(paths.run_file, RUN)
    docker_says(stderr=AWAY, code=1)
    with pytest.raises(StackError, match="does not run"):
        runtime.down(paths, quiet)
    assert read_run(paths.run_file) == RUN
    asked = docker_says('{"Service":"inference","State":"running"}\n')
    assert runtime.down(paths, quiet) == 1
    assert "down --remove-orphans" in asked.read_text()
    assert not paths.run_file.exists()


def test_down_of_a_native_run_does_not_need_docker(
    paths: Paths, docker_says: Callable[..., Path]
) -> None:
    paths.ensure_state()
    write_run(paths.run_file, replace(RUN, runtime="native"))
    docker_says(stderr=AWAY, code=1)
    assert runtime.down(paths, quiet) == 0
    assert not paths.run_file.exists()


@pytest.mark.parametrize(
    ("stdout", "stderr", "code", "reason"),
    [("", AWAY, 1, "the Docker engine does not run"), ("[]\n", "", 0, "no container")],
)
def test_status_of_containers_that_are_gone_is_not_starting_for_ever(
    paths: Paths, docker_says: Callable[..., Path], stdout: str, stderr: str, code: int, reason: str
) -> None:
    paths.ensure_state()
    write_run(paths.run_file, RUN)
    docker_says(stdout, stderr, code)
    stack = runtime.current(paths, Settings())
    assert [(service.phase, service.reason) for service in stack.services] == [
        ("stopped", reason), ("stopped", reason),
    ]  # fmt: skip
    assert not stack.healthy
    assert stack.watched, "the supervisor belongs to the native runtime"


def test_the_address_is_where_it_runs_also_after_the_port_was_changed(
    paths: Paths, docker_says: Callable[..., Path]
) -> None:
    paths.ensure_state()
    write_run(paths.run_file, RUN)
    docker_says("[]\n")
    stack = runtime.current(paths, Settings(api_gateway_port=9999))
    assert stack.address == "http://localhost:18000/v1"


def test_a_docker_that_cannot_be_started_is_an_answer(
    docker_says: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_says()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin" / "docker").write_text("#!/nowhere/interpreter\n")
    trouble = docker.engine_trouble()
    assert trouble is not None
    assert "docker" in trouble.message


def test_words_that_are_not_utf8_are_no_crash(
    docker_says: Callable[..., Path], tmp_path: Path
) -> None:
    docker_says(code=1)
    (tmp_path / "bin" / "stderr").write_bytes("권한 없음".encode("euc-kr"))
    assert docker.engine_trouble() is not None


@pytest.mark.parametrize(
    "settings",
    [
        Settings(cuda_visible_devices=""),
        Settings(cuda_visible_devices="-1"),
        Settings(cuda_visible_devices="0", n_gpu_layers=0),
    ],
)
def test_no_gpu_is_asked_for_when_the_cpu_was_chosen(settings: Settings) -> None:
    assert docker.wants_gpu(settings) == (False, "")


@pytest.mark.parametrize(
    ("settings", "fails"),
    [
        (Settings(), True),
        (Settings(bind_address="0.0.0.0", require_key=True), True),
        # Published there and not on loopback: it cannot be asked from here, which is no failure.
        (Settings(bind_address="192.0.2.7", require_key=True), False),
    ],
)
def test_an_engine_service_that_does_not_answer_is_no_success(
    settings: Settings, fails: bool, free_port: int
) -> None:
    silent = replace(RUN, services=(ServiceState("inference", free_port, "ready"),))
    if fails:
        with pytest.raises(StackError, match=str(free_port)):
            runtime._load_default(silent, settings, quiet, None)
    else:
        runtime._load_default(silent, settings, quiet, None)
