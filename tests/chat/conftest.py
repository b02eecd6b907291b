"""Fixtures: the real engine, and sockets that answer whatever a test wants."""

from __future__ import annotations

import io
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest
from chat_servers import CONTEXT, SCRIPT, Done, RawServer

from local_ai_suite.cli.main import main
from local_ai_suite.demo import write_scripted_gguf
from scripted_engine import engine as running_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from local_ai_suite.paths import Paths


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``http://127.0.0.1:PORT`` of a real engine with 2,048 tokens of context."""
    path = write_scripted_gguf(tmp_path_factory.mktemp("model") / "scripted.gguf", SCRIPT)
    with running_engine(path, context=CONTEXT, slots=1) as started:
        yield started.url


@pytest.fixture
def raw_server() -> Iterator[Callable[..., RawServer]]:
    started: list[RawServer] = []

    def start(reply: bytes, *, hold: bool = False) -> RawServer:
        started.append(RawServer(reply, hold))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def ai(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], paths: Paths
) -> Callable[..., Done]:
    """``lais ai ...`` in this process, in a project of its own; ``port`` is the gateway's."""
    monkeypatch.setenv("LAIS_PROJECT", str(paths.project))
    monkeypatch.delenv("LAIS_STATE", raising=False)

    def run(*arguments: str, port: int, stdin: bytes = b"") -> Done:
        monkeypatch.setenv("API_GATEWAY_PORT", str(port))
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as left:
            main(["ai", *arguments])
        said = capsys.readouterr()
        return Done(int(left.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def port(engine: str) -> int:
    return int(engine.rpartition(":")[2])


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty git repository with an author, which is the working directory."""
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    for command in (
        ["init", "-q", "-b", "main"],
        ["config", "user.name", "A"],
        ["config", "user.email", "a@example.org"],
    ):
        subprocess.run(["git", *command], check=True)
    return folder
