"""The facts, from a machine of stand-ins: programs on a PATH of the test, ports, files."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from local_ai_suite.demo import write_scripted_gguf
from local_ai_suite.doctor import ensure_ready, fast_checks, preflight
from local_ai_suite.doctor import snapshot as facts
from local_ai_suite.doctor.snapshot import docker_facts, gather, nvidia_on_bus, port_facts
from local_ai_suite.errors import ModelError, PortInUse, StackError
from local_ai_suite.paths import Paths
from local_ai_suite.settings import Settings, load_settings
from local_ai_suite.stack.ports import PortHolder
from local_ai_suite.stack.state import RunState, ServiceState

PROJECT = Path(__file__).resolve().parents[2]

NVIDIA_SMI = """#!/bin/sh
echo "0, NVIDIA GeForce RTX 4050 Laptop GPU, 6141, 5800, 560.94, GPU-1234, 8.9"
"""
DOCKER = """#!/bin/sh
case "$1 $2" in
  "version --format") echo 28.2.2 ;;
  "compose version") echo 2.40.0 ;;
  "info --format") echo '{"nvidia":{"path":"nvidia-container-runtime"},"runc":{"path":"runc"}}' ;;
  *) exit 1 ;;
esac
"""


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


@pytest.fixture
def project(paths: Paths, free_port: int) -> Paths:
    """A project with everything that `up` needs, on ports of its own."""
    for name in (".env.example", "services"):
        (paths.project / name).symlink_to(PROJECT / name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        other = probe.getsockname()[1]
    paths.env_file.write_text(
        f"API_GATEWAY_PORT={free_port}\nINFERENCE_PORT={other}\nRUNTIME=native\n", encoding="utf-8"
    )
    paths.env_file.chmod(0o600)
    return paths


def stand_in(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(script, encoding="utf-8")
    path.chmod(0o755)


def run_preflight(project: Paths, path: str, **environ: str) -> tuple[int, dict]:
    done = subprocess.run(
        [sys.executable, "-m", "local_ai_suite", "preflight", "--json"],
        env={"LAIS_PROJECT": str(project.project), "PATH": path, "HOME": str(project.project),
             **environ},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["data"]


def test_a_project_in_order_passes_with_the_real_engine(project: Paths, bin_folder: Path) -> None:
    code, data = run_preflight(project, str(bin_folder))
    assert [check for check in data["checks"] if check["status"] == "failure"] == []
    assert code == 0
    engine = next(check for check in data["checks"] if check["name"] == "engine")
    assert engine["details"]["source"] == "embedded"
    assert engine["details"]["version"]


def test_a_gpu_without_a_gpu_engine_is_loud_and_no_failure(
    project: Paths, bin_folder: Path
) -> None:
    stand_in(bin_folder, "nvidia-smi", NVIDIA_SMI)
    code, data = run_preflight(project, str(bin_folder))
    by_name = {check["name"]: check for check in data["checks"]}
    assert by_name["gpu"]["status"] == "ok"
    assert by_name["gpu"]["details"]["gpus"][0]["driver"] == "560.94"
    assert "THE GPU WILL NOT BE USED" in by_name["engine-gpu"]["message"]
    assert code == 0


def test_everything_that_is_wrong_is_found_in_one_go(
    project: Paths, bin_folder: Path, free_port: int
) -> None:
    model = write_scripted_gguf(project.project / "models" / "cut.gguf")
    model.write_bytes(model.read_bytes()[:-5000])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        code, data = run_preflight(
            project, str(bin_folder), CHAT_MODEL="cut.gguf", LLAMA_SERVER="/nowhere/llama-server"
        )
    assert code == 1
    failures = {check["name"]: check for check in data["checks"] if check["status"] == "failure"}
    assert set(failures) == {"engine", "models", "ports"}
    assert "cut.gguf" in failures["models"]["message"]
    assert "/nowhere/llama-server" in failures["engine"]["message"]
    assert failures["ports"]["details"]["pid"] == os.getpid()


def test_dockers_versions_and_gpu_are_asked_for(bin_folder: Path, monkeypatch) -> None:
    stand_in(bin_folder, "docker", DOCKER)
    monkeypatch.setenv("PATH", str(bin_folder))
    facts = docker_facts()
    assert (facts.version, facts.compose, facts.gpu) == ("28.2.2", "2.40.0", True)
    assert facts.trouble is None


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (None, "not installed"),
        (
            "#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2; exit 1\n",
            "Docker",
        ),
        ('#!/bin/sh\n[ "$1" = version ] && echo 28 && exit 0\nexit 1\n', "Compose"),
    ],
)
def test_docker_that_cannot_be_used_says_why(bin_folder: Path, monkeypatch, script, says) -> None:
    if script:
        stand_in(bin_folder, "docker", script)
    monkeypatch.setenv("PATH", str(bin_folder))
    trouble = docker_facts().trouble
    assert trouble is not None
    assert says in trouble.message


def test_a_card_without_a_driver_is_seen_on_the_bus(tmp_path: Path) -> None:
    assert not nvidia_on_bus(tmp_path)
    for name, vendor, kind in (("a", "0x10de", "0x040300"), ("b", "0x8086", "0x030000")):
        device = tmp_path / "sys/bus/pci/devices" / name
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"{vendor}\n")
        (device / "class").write_text(f"{kind}\n")
    assert not nvidia_on_bus(tmp_path)
    (tmp_path / "sys/bus/pci/devices/a/class").write_text("0x030200\n")
    assert nvidia_on_bus(tmp_path)


def test_a_port_held_by_this_projects_own_run_is_ours(paths: Paths, free_port: int) -> None:
    listen = (
        "import socket,sys,time; s=socket.socket(); s.bind(('127.0.0.1', int(sys.argv[1])));"
        "s.listen(); print('up', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", listen, str(free_port)],
        env={"LAIS_RUN_OF": str(paths.project)},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        mine = port_facts(Settings(api_gateway_port=free_port), paths, None)[0]
        other = Paths(project=paths.project / "other", state=paths.state)
        theirs = port_facts(Settings(api_gateway_port=free_port), other, None)[0]
    finally:
        process.kill()
        process.wait(timeout=10)
    assert mine.ours
    assert not theirs.ours
    assert theirs.holder is not None
    assert theirs.holder.pid == process.pid


def test_facts_are_gathered_from_a_wrong_env_too(project: Paths) -> None:
    project.env_file.write_text("CTX_SIZE=lots\n", encoding="utf-8")
    facts = gather(project, environ={"PATH": ""})
    assert facts.settings is None
    assert facts.settings_error is not None
    assert any("CTX_SIZE" in check.message for check in preflight(facts).failures)


# The fast subset


def test_the_fast_checks_pass_where_up_will_work(project: Paths) -> None:
    settings = load_settings(project, environ={})
    report = fast_checks(settings, project, environ={"PATH": ""})
    assert report.will_work, report.failures


def test_the_fast_checks_start_no_program(project: Paths, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    settings = load_settings(project, environ={})
    assert fast_checks(settings, project, environ={"PATH": ""}).will_work


def test_a_model_that_containers_would_not_see_fails_the_checks_of_docker_only(
    project: Paths, tmp_path: Path
) -> None:
    other = write_scripted_gguf(tmp_path / "elsewhere" / "other.gguf")
    environ = {"CHAT_MODEL": str(other), "PATH": ""}
    native = load_settings(project, environ=environ)
    assert fast_checks(native, project, environ=environ).will_work
    environ["RUNTIME"] = "docker"
    report = fast_checks(load_settings(project, environ=environ), project, environ=environ)
    assert [check.name for check in report.failures] == ["models"]
    assert str(other) in report.failures[0].message
    assert "RUNTIME=native" in report.failures[0].remedy


def test_the_fast_checks_find_a_taken_port_a_missing_model_and_a_wrong_engine(
    project: Paths, free_port: int
) -> None:
    settings = load_settings(
        project, environ={"CHAT_MODEL": "gone.gguf", "LLAMA_SERVER": "/nowhere/x"}
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        report = fast_checks(settings, project, environ={"PATH": ""})
    assert {check.name for check in report.failures} == {"models", "engine", "ports"}
    assert all(check.remedy for check in report.failures)


def test_up_gets_one_error_that_says_everything(project: Paths, free_port: int) -> None:
    ensure_ready(load_settings(project, environ={}), project, environ={"PATH": ""})
    missing = load_settings(project, environ={"CHAT_MODEL": "gone.gguf"})
    with pytest.raises(ModelError, match=r"gone\.gguf"):
        ensure_ready(missing, project, environ={"PATH": ""})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        with pytest.raises(PortInUse, match=f"{free_port} .* is held by pid {os.getpid()}"):
            ensure_ready(load_settings(project, environ={}), project, environ={"PATH": ""})
        with pytest.raises(StackError, match=r"gone\.gguf.*; .* is held by") as caught:
            ensure_ready(missing, project, environ={"PATH": ""})
    assert not isinstance(caught.value, PortInUse)
    assert "API_GATEWAY_PORT" in caught.value.hint


def test_the_script_is_a_thin_door() -> None:
    script = PROJECT / "scripts" / "preflight.sh"
    assert os.access(script, os.X_OK)
    text = script.read_text(encoding="utf-8")
    assert "scripts/bootstrap.py" in text
    assert 'exec .venv/bin/lais preflight "$@"' in text
    subprocess.run(["sh", "-n", script], check=True, timeout=10)


@pytest.mark.parametrize(
    ("command", "there", "ours"),
    [
        ("/usr/sbin/docker-proxy -proto tcp", [{"State": "restarting"}], True),
        (None, [{"State": "running"}], True),
        ("/usr/sbin/docker-proxy -proto tcp", [], False),
        ("python -m http.server", [{"State": "running"}], False),
    ],
)
def test_a_crashed_containers_port_is_still_its_own(
    command: str | None,
    there: list[dict[str, str]],
    ours: bool,
    paths: Paths,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    holder = PortHolder(8000, 7 if command else None, command, None)
    monkeypatch.setattr(facts, "port_holder", lambda port: holder if port == 8000 else None)
    monkeypatch.setattr(facts, "containers", lambda _: there)
    services = (ServiceState("api-gateway", 8000, "starting"),)
    run = RunState("docker", "p1", 0.0, None, services)
    assert port_facts(Settings(api_gateway_port=8000), paths, run)[0].ours is ours
