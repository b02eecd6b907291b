"""The Docker tier: `make test-docker`. Needs an engine (tests/docker/with-docker.sh brings one)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from containers import packaged_project, remove

from local_ai_suite.demo import write_scripted_gguf
from stack_project import Project

# The checks of the conformance suite are modules of that folder.
sys.path.append(str(Path(__file__).parents[1] / "conformance"))


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The stack as containers; its models lie under a path with a space and Korean."""
    project = packaged_project(tmp_path_factory.mktemp("docker") / "project")
    models = project.folder.parent / "외장 SSD" / "models"
    models.mkdir(parents=True)
    write_scripted_gguf(models / "scripted.gguf")
    project.environment |= {"MODELS_DIR": str(models)}
    yield project
    remove(project)


@pytest.fixture(scope="module")
def running(packaged: Project) -> Project:
    """The scenarios' one stack; a scenario that ended it finds it up again."""
    return packaged


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Project]:
    """An empty clone that runs in Docker."""
    project = packaged_project(tmp_path / "project")
    yield project
    remove(project)
