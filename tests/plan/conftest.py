"""The real engine once per session; a repository and a stand-in `gh` per test."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from plan_desk import Desk, FakeServer, Gh, fill, make_repository, schema_of

from local_ai_suite.demo import write_scripted_gguf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CONTEXT = 4096
_STOP_SECONDS = 10.0  # the engine needs well under a second to stop; beyond this it is killed
_SERVE = """
import sys, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.n_ctx, p.n_parallel = sys.argv[1], int(sys.argv[2]), 1
p.model_alias = {"local-chat"}
p.hostnames, p.port, p.cpuparams.n_threads = ["127.0.0.1"], 0, 2
p.n_gpu_layers, p.fit_params, p.warmup, p.use_jinja = 0, False, False, True
server = xllamacpp.Server(p)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def engine_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real engine with the scripted model and 4k of context."""
    path = write_scripted_gguf(tmp_path_factory.mktemp("model") / "scripted.gguf")
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(path), str(CONTEXT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as engine:
        try:
            assert engine.stdout is not None
            yield int(engine.stdout.readline().strip().rpartition(":")[2])
        finally:
            assert engine.stdin is not None
            engine.stdin.close()
            try:
                engine.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                engine.kill()


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
