"""What all tests share: a project folder of their own, and no way out of this machine."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from local_ai_suite.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path

# A shell that starts this in the background lets it ignore Ctrl-C and the end of its terminal, and
# the programs under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The machine may be busy with other things: how long one example takes says nothing.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

_connect = socket.socket.connect
_LOCAL = ("127.", "::1", "localhost", "0.0.0.0")


def _connect_locally(self: socket.socket, address: object) -> None:
    host = address[0] if isinstance(address, tuple) else ""
    if self.family in {socket.AF_INET, socket.AF_INET6} and not str(host).startswith(_LOCAL):
        raise AssertionError(f"a test tried to leave this machine: {address}")
    _connect(self, address)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _stay_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", _connect_locally)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """An empty project of its own."""
    project = tmp_path / "project"
    (project / "models").mkdir(parents=True)
    return Paths(project=project, state=project / ".state")


@pytest.fixture
def free_port() -> int:
    """A port that the system chose; free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
