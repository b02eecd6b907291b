"""The real engine once per session; a repository and a stand-in `gh` per test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from plan_desk import Desk, FakeServer, Gh, fill, make_repository, schema_of

from local_ai_suite.demo import write_scripted_gguf
from scripted_engine import engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CONTEXT = 4096


@pytest.fixture(scope="session")
def engine_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real engine with the scripted model and 4k of context."""
    path = write_scripted_gguf(tmp_path_factory.mktemp("model") / "scripted.gguf")
    with engine(path, context=CONTEXT, slots=1) as started:
        yield int(started.url.rpartition(":")[2])


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[int], Desk]:
    def make(port: int) -> Desk:
        repository = make_repository(tmp_path / "repository")
        return Desk(tmp_path, repository, Gh(tmp_path), port, capsys)

    return make


@pytest.fixture
def server() -> Iterator[Callable[..., FakeServer]]:
    started: list[FakeServer] = []

    def start(answer: Callable[[dict[str, Any]], str], context: int = CONTEXT) -> FakeServer:
        started.append(FakeServer(answer, context))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def saying(server: Callable[..., FakeServer]) -> Callable[[str], FakeServer]:
    """A server whose model fits every schema and says the same text everywhere."""

    def start(text: str) -> FakeServer:
        return server(lambda body: json.dumps(fill(schema_of(body), lambda most: text[:most])))

    return start
