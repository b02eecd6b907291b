"""A running engine service with real engines, on a port of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

# The model files of `benchmarks/` serve these tests, too.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import pytest

from engine_service import Service, end_service, start_service
from local_ai_suite.demo import write_scripted_gguf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start services in projects of their own; all are stopped afterwards."""
    started: list[Service] = []

    def begin(project: Path | None = None, **environ: str) -> Service:
        folder = project or tmp_path / f"project{len(started)}"
        (folder / "models").mkdir(parents=True, exist_ok=True)
        service = start_service(folder, **environ)
        started.append(service)
        return service

    yield begin
    for service in started:
        end_service(service)


@pytest.fixture(scope="module")
def start_for_module() -> Iterator[Callable[..., Service]]:
    """Start services in given projects, for all tests of a module."""
    started: list[Service] = []

    def begin(project: Path, **environ: str) -> Service:
        started.append(start_service(project, **environ))
        return started[-1]

    yield begin
    for service in started:
        end_service(service)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for a module's tests, with two models in its folder."""
    project = tmp_path_factory.mktemp("shared")
    for name in ("Talker-3B-Instruct-Q8_0.gguf", "Coder-1B.gguf"):
        write_scripted_gguf(project / "models" / name)
    # A context so large that a generation without end outlasts a test.
    service = start_service(project, CHAT_MODEL="Talker-3B-Instruct-Q8_0.gguf", CTX_SIZE="60000")
    yield service
    end_service(service)
