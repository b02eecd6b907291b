"""What `up`, `down` and `status` make of a Docker that is away, with a `docker` that can fail."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from local_ai_suite.errors import StackError
from local_ai_suite.paths import Paths
from local_ai_suite.settings import Settings
from local_ai_suite.stack import containers, docker, runtime, waiting
from local_ai_suite.stack.state import RunState, ServiceState, read_run, write_run

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
    ("stdout", "stderr", "code", "phase", "reason"),
    [
        ("", AWAY, 1, "unreachable", "the Docker engine does not run"),
        ("[]\n", "", 0, "stopped", "no container"),
    ],
)
def test_status_of_containers_that_are_gone_is_not_starting_for_ever(
    paths: Paths,
    docker_says: Callable[..., Path],
    stdout: str,
    stderr: str,
    code: int,
    phase: str,
    reason: str,
) -> None:
    paths.ensure_state()
    write_run(paths.run_file, RUN)
    docker_says(stdout, stderr, code)
    stack = runtime.current(paths, Settings())
    assert [(service.phase, service.reason) for service in stack.services] == [
        (phase, reason), (phase, reason),
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
    settings: Settings, fails: bool, free_port: int, paths: Paths
) -> None:
    silent = replace(RUN, services=(ServiceState("inference", free_port, "ready"),))
    if fails:
        with pytest.raises(StackError, match=str(free_port)):
            waiting.load_default(silent, settings, paths, quiet)
    else:
        waiting.load_default(silent, settings, paths, quiet)


@pytest.mark.parametrize("wanted", ["auto", "docker"])
def test_up_does_not_forget_containers_that_cannot_be_reached(
    paths: Paths, docker_says: Callable[..., Path], wanted: str
) -> None:
    """They come back with Docker, and would then hold the ports of what was started instead."""
    paths.ensure_state()
    write_run(paths.run_file, RUN)
    docker_says(stderr=AWAY, code=1)
    with pytest.raises(StackError, match="cannot be reached") as caught:
        runtime.up("p1", Settings(runtime=wanted), paths, quiet)
    assert "RUNTIME=native" in caught.value.hint
    assert read_run(paths.run_file) == RUN


@pytest.fixture
def with_a_dockerfile(paths: Paths) -> Paths:
    paths.compose_dir.mkdir()
    (paths.compose_dir / "Dockerfile").write_text("ARG PYTHON_IMAGE=base:of-the-file\n")
    return paths


@pytest.mark.parametrize(
    ("env_file", "environ", "image"),
    [
        ("", None, "base:of-the-file"),
        ("PYTHON_IMAGE=base:of-env\n", None, "base:of-env"),
        ("PYTHON_IMAGE=base:of-env\n", "base:of-environment", "base:of-environment"),
        ("PYTHON_IMAGE=\n", "", "base:of-the-file"),
    ],
)
def test_the_base_image_is_read_where_compose_reads_it(
    with_a_dockerfile: Paths,
    monkeypatch: pytest.MonkeyPatch,
    env_file: str,
    environ: str | None,
    image: str,
) -> None:
    with_a_dockerfile.env_file.write_text(env_file)
    monkeypatch.delenv("PYTHON_IMAGE", raising=False)
    if environ is not None:
        monkeypatch.setenv("PYTHON_IMAGE", environ)
    assert docker.base_image(with_a_dockerfile) == image


def test_auto_asks_the_registry_says_so_and_downloads_nothing(
    with_a_dockerfile: Paths,
    docker_says: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PYTHON_IMAGE", raising=False)
    asked = docker_says()
    program = tmp_path / "bin" / "docker"
    answers = 'case "$1" in version|compose) exit 0;; *) exit 1;; esac'
    program.write_text(f'#!/bin/sh\necho "$*" >>"{asked}"\n{answers}\n')
    told: list[str] = []
    choice = docker.choose("p1", Settings(runtime="auto"), with_a_dockerfile, told.append)
    assert choice.runtime == "native"
    assert "base:of-the-file" in choice.reason
    assert len(told) == 1
    assert "base:of-the-file" in told[0]
    assert "pull" not in asked.read_text()


def test_what_docker_tells_of_a_container_is_in_the_status(
    paths: Paths, docker_says: Callable[..., Path], tmp_path: Path
) -> None:
    paths.ensure_state()
    write_run(paths.run_file, RUN)
    asked = docker_says()
    whole = "f" * 64
    ps = json.dumps({"Service": "inference", "State": "running", "Health": "healthy", "ID": "ffff"})
    state = {"Pid": os.getpid(), "StartedAt": "2026-11-23T15:04:05.123456789Z"}
    details = json.dumps([{"Id": whole, "RestartCount": 3, "State": state}])
    stats = f"{whole} 12.5MiB / 1.9GiB"
    (tmp_path / "bin" / "docker").write_text(
        f"""#!/bin/sh
        echo "$*" >>"{asked}"
        case "$1" in
        compose) echo '{ps}';;
        inspect) echo '{details}';;
        stats) echo '{stats}';;
        esac
        """
    )
    run = read_run(paths.run_file)
    assert run is not None
    found = containers.measured(containers.services(paths, run)).services[0]
    assert found.restarts == 3
    assert found.since == 1_795_446_245.0
    assert found.process is None, "that pid is another process here"
    assert found.memory == int(12.5 * 1024**2)


@pytest.mark.parametrize(
    ("text", "memory"),
    [("512B / 1GiB", 512), ("1.5GiB / 2GiB", int(1.5 * 1024**3)), ("-- / --", None), ("", None)],
)
def test_memory_is_read_as_docker_writes_it(text: str, memory: int | None) -> None:
    assert containers.parse_memory(text) == memory


@pytest.mark.parametrize(
    ("says", "started"),
    [
        ("listen tcp6 [::1]:8000: bind: cannot assign requested address", True),
        ("Bind for ::1:8000 failed: port is already allocated", False),
        ("no space left on device", False),
    ],
)
def test_an_engine_that_cannot_publish_on_ipv6_publishes_on_ipv4(
    paths: Paths, docker_says: Callable[..., Path], tmp_path: Path, says: str, started: bool
) -> None:
    paths.ensure_state()
    paths.env_file.touch()
    asked = docker_says()
    (tmp_path / "bin" / "docker").write_text(
        f"""#!/bin/sh
        echo "$*" >>"{asked}"
        case "$*" in *compose.ipv6.yml*) echo '{says}' >&2; exit 1;; esac
        """
    )
    trouble = docker._up("p1", Settings(), paths, gpu=False)
    assert (trouble is None) is started
    ups = [line for line in asked.read_text().splitlines() if " up -d" in line]
    assert ["compose.ipv6.yml" in line for line in ups] == ([True, False] if started else [True])


@pytest.mark.parametrize(("status", "phase"), [(200, "ready"), (503, "starting")])
def test_a_container_that_answers_is_ready_before_docker_looks_again(
    paths: Paths, docker_says: Callable[..., Path], status: int, phase: str
) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        service = ServiceState("inference", server.server_port, "starting")
        docker_says('{"Service":"inference","State":"running","Health":"starting"}\n')
        found = containers.services(paths, replace(RUN, services=(service,)))
        server.shutdown()
    assert found.services[0].phase == phase
