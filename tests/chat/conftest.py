"""Fixtures: the real engine, and sockets that answer whatever a test wants."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from chat_servers import SCRIPT, RawServer, serve

from local_ai_suite.demo import write_scripted_gguf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``http://127.0.0.1:PORT`` of a real engine with 2,048 tokens of context."""
    path = write_scripted_gguf(tmp_path_factory.mktemp("model") / "scripted.gguf", SCRIPT)
    with serve(path) as address:
        yield address


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
