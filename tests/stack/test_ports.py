"""A port in use: who holds it, and what to set."""

from __future__ import annotations

import os
import socket

import pytest

from local_ai_suite.errors import AlreadyRunning, PortInUse
from local_ai_suite.paths import Paths
from local_ai_suite.stack import ports
from local_ai_suite.state import exclusive


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
        exclusive(paths.lock_file),
        pytest.raises(AlreadyRunning, match=str(os.getpid())),
        exclusive(paths.lock_file, timeout_s=0.2),
    ):
        pass
