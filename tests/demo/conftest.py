"""Serves a GGUF file through the real engine, on a port that the system chooses."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from local_ai_suite.demo import write_scripted_gguf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_STOP_SECONDS = 10.0
"""The engine needs well under a second to stop; beyond this it is killed."""

_SERVE = """
import sys, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.n_ctx, p.n_parallel = sys.argv[1], int(sys.argv[2]), 1
p.embedding = sys.argv[3] == "embedding"
p.hostnames, p.port, p.cpuparams.n_threads = ["127.0.0.1"], 0, 2
p.n_gpu_layers, p.fit_params, p.warmup, p.use_jinja = 0, False, False, True
server = xllamacpp.Server(p)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def serve(model: Path, context: int = 4096, mode: str = "chat") -> Iterator[httpx.Client]:
    """The engine with `model` in a child process that ends when its standard input closes."""
    argv = [sys.executable, "-c", _SERVE, str(model), str(context), mode]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as engine:
        try:
            assert engine.stdout is not None
            address = engine.stdout.readline().strip()
            assert address, "the engine ended before it listened"
            # After a stream llama.cpp may close a connection that it said it would keep.
            apart = httpx.Limits(max_keepalive_connections=0)
            with httpx.Client(base_url=address, timeout=30, limits=apart) as client:
                yield client
        finally:
            assert engine.stdin is not None
            engine.stdin.close()
            try:
                engine.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                engine.kill()


@pytest.fixture(scope="session", name="serve")
def _serve() -> Callable[..., contextlib.AbstractContextManager[httpx.Client]]:
    return serve


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    path = write_scripted_gguf(tmp_path_factory.mktemp("scripted") / "scripted.gguf")
    with serve(path, context=65_536) as client:
        yield client
