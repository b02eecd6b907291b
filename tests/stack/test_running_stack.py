"""A real stack: what `up` and `status` say of it, and what it makes of a file that breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_ai_suite.demo import write_scripted_gguf
from stack_project import Project, close, new_project

WAIT_S = 60.0
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = new_project(tmp_path_factory.mktemp("stack") / "project")
    models = project.folder / "models"
    write_scripted_gguf(models / "good.gguf")
    (models / "pointer.gguf").write_bytes(POINTER)
    done = project.lais("up")
    project.note["up"] = done.stdout
    assert done.returncode == 0, done.stderr
    yield project
    close(project)


@pytest.fixture
def env_file(running: Project) -> Iterator[Path]:
    """The project's ``.env``, given back as it was."""
    file = running.folder / ".env"
    text = file.read_text()
    yield file
    file.write_text(text)


def test_one_bad_file_among_good_ones_is_told_by_up_and_by_status(running: Project) -> None:
    assert "left out: " in running.note["up"]
    assert "pointer.gguf" in running.note["up"]
    assert "pointer.gguf" in running.lais("status").stdout
    assert any("pointer.gguf" in text for text in running.status()["warnings"])
    again = running.lais("up")
    assert "is already up" in again.stdout
    assert "pointer.gguf" in again.stdout


def test_status_works_with_a_broken_env_and_says_so(running: Project, env_file: Path) -> None:
    env_file.write_text(env_file.read_text() + "\nCTX_SIZE=plenty\n")
    told = running.lais("status")
    assert told.returncode == 0, told.stderr
    assert "CTX_SIZE is 'plenty'" in told.stderr
    assert "What runs goes on with the settings that it was started with." in told.stderr
    assert "local-chat" in told.stdout
    data = json.loads(running.lais("status", "--json").stdout)
    assert "CTX_SIZE" in data["warnings"][0]


def test_status_says_that_the_settings_have_changed(running: Project, env_file: Path) -> None:
    assert running.lais("status").stderr == ""
    env_file.write_text(env_file.read_text() + "\nKEEP_ALIVE=42\n")
    assert "the settings have changed" in running.lais("status").stderr


def test_a_service_that_dies_comes_back_with_the_settings_of_its_run(
    running: Project, env_file: Path
) -> None:
    env_file.write_text("CTX_SIZE=plenty\nINFERENCE_PORT=1\n")
    before = running.process_of("engine")
    before.kill()
    before.wait(WAIT_S)
    assert running.chat_until_answered()["choices"]
    services = {service["name"]: service for service in running.status()["services"]}
    assert services["inference"]["phase"] == "ready"
    assert services["inference"]["restarts"] == 1
    assert services["inference"]["port"] == running.engine


def test_without_a_run_status_says_that_a_broken_env_starts_nothing(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    (project.folder / ".env").write_text("CTX_SIZE=plenty\n")
    told = project.lais("status")
    assert told.returncode == 1
    assert "Nothing will start with it." in told.stderr
    assert "Nothing runs here." in told.stdout
    down = project.lais("down")
    assert (down.returncode, down.stdout) == (0, "Nothing was running.\n")
    assert project.lais("logs").returncode == 0


@pytest.mark.parametrize("room", ["gateway", "engine"])
def test_a_stopped_service_is_stuck_at_once_and_up_waits_until_it_is_back(
    running: Project, room: str
) -> None:
    """`lais up` says "already up" of nobody who does not answer; and who needs a service that hangs
    is not taken for hanging itself."""
    name = {"gateway": "api-gateway", "engine": "inference"}[room]
    before = {service["name"]: service["restarts"] for service in running.status()["services"]}
    stopped = running.process_of(room)
    stopped.suspend()
    told = {service["name"]: service for service in running.status()["services"]}
    assert told[name]["phase"] == "stuck"
    assert told[name]["reason"] == "it does not answer"
    done = running.lais("up")
    assert done.returncode == 0, done.stderr
    assert "is already up" not in done.stdout
    assert running.chat_until_answered()["choices"]
    after = {service["name"]: service for service in running.status()["services"]}
    assert {other: service["restarts"] for other, service in after.items()} == {
        **before,
        name: before[name] + 1,
    }
    assert "did not answer for" in after[name]["reason"]
    assert not stopped.is_running()
