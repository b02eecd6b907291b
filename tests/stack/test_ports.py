"""A port in use: who holds it, and what to set."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from local_ai_suite.doctor import project
from local_ai_suite.doctor.snapshot import PortFact
from local_ai_suite.errors import AlreadyRunning, PortInUse
from local_ai_suite.paths import Paths
from local_ai_suite.stack import ports
from local_ai_suite.stack.state import exclusive


def test_a_free_port_has_no_holder(free_port: int) -> None:
    assert ports.port_holder(free_port) is None
    ports.check_free("INFERENCE_PORT", free_port)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1"])
def test_a_taken_port_names_its_holder_and_the_setting(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as taken:
        taken.bind((address, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse) as caught:
            ports.check_free("API_GATEWAY_PORT", port)
    assert f"pid {os.getpid()}" in caught.value.message
    assert "API_GATEWAY_PORT=" in caught.value.hint


def test_a_held_lock_names_its_holder_within_the_bound(paths: Paths) -> None:
    paths.ensure_state()
    with (
        exclusive(paths.lock_file, "up"),
        pytest.raises(AlreadyRunning, match=f"`up` is at work .*{os.getpid()}"),
        exclusive(paths.lock_file, "down", timeout_s=0.2),
    ):
        pass


def test_a_port_that_is_kept_for_root_is_not_called_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: socket.socket, address: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refused)
    with pytest.raises(PortInUse, match="for root") as caught:
        ports.check_free("API_GATEWAY_PORT", 80)
    assert "API_GATEWAY_PORT=" in caught.value.hint
    assert str(ports.first_free_port()) in caught.value.hint
    ports.check_free("API_GATEWAY_PORT", 80, by_root=True)  # Docker's engine may
    fact = PortFact("API_GATEWAY_PORT", 80, ports.port_holder(80))
    assert project._check_port(fact, native=True, wsl=False).status == "failure"
    assert project._check_port(fact, native=False, wsl=False).status == "warning"
