"""The projects that the scenarios speak of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local_ai_suite.demo import write_scripted_gguf
from stack_project import Project, close, new_project


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One stack for the scenarios that need one; a scenario that ended it finds it up again."""
    project = new_project(tmp_path_factory.mktemp("scenarios") / "프로젝트 one")
    write_scripted_gguf(project.folder / "models" / "scripted.gguf")
    yield project
    close(project)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Project]:
    """An empty clone."""
    project = new_project(tmp_path / "project")
    yield project
    close(project)
