"""The Docker tier: `make test-docker`. Needs an engine (tests/docker/with-docker.sh brings one)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from containers import compose_project

from local_ai_suite.demo import write_scripted_gguf
from stack_project import CHECKOUT, Project, close, new_project


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The stack as containers; its models lie under a path with a space and Korean."""
    project = new_project(tmp_path_factory.mktemp("docker") / "project")
    for name in ("pyproject.toml", "uv.lock", "README.md", "LICENSE", ".dockerignore"):
        shutil.copy(CHECKOUT / name, project.folder / name)
    (project.folder / "scripts").mkdir()
    shutil.copy(CHECKOUT / "scripts" / "bootstrap.txt", project.folder / "scripts")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CHECKOUT / "src", project.folder / "src", ignore=ignored)
    models = project.folder.parent / "외장 SSD" / "models"
    models.mkdir(parents=True)
    write_scripted_gguf(models / "scripted.gguf")
    project.environment |= {"RUNTIME": "docker", "MODELS_DIR": str(models)}
    project.timeout_s = 1500.0  # the first `up` builds the images
    yield project
    close(project)
    volume = f"{compose_project(project)}_state"
    subprocess.run(["docker", "volume", "rm", "-f", volume], check=False, timeout=60)
