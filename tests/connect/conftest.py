"""The whole stack with a scripted model: what a client really meets on port 8000."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local_ai_suite.demo import write_scripted_gguf
from stack_project import Project, close, new_project

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project that is up, native, with one model of 16,384 tokens."""
    project = new_project(tmp_path_factory.mktemp("connect") / "project")
    model = write_scripted_gguf(project.folder / "models" / "scripted.gguf")
    project.environment |= {"CHAT_MODEL": model.name, "CTX_SIZE": "16384", "PARALLEL": "2"}
    try:
        done = project.lais("up")
        assert done.returncode == 0, done.stdout + done.stderr
        yield project
    finally:
        close(project)
