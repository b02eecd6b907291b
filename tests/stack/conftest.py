from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from local_ai_suite.stack.services import ServiceSpec

FAKE = Path(__file__).parent / "fake_service.py"


@pytest.fixture
def fake_service(free_port: int) -> Callable[..., ServiceSpec]:
    """A spec of the fake service: for faults of the services, which real ones don't have."""

    def make(*flags: str, name: str = "inference", ready_timeout_s: float = 20.0) -> ServiceSpec:
        return ServiceSpec(
            name=name,
            command=(sys.executable, str(FAKE), str(free_port), *flags),
            port=free_port,
            ready_path="/health",
            alive_path="/health",
            ready_timeout_s=ready_timeout_s,
            environment={},
        )

    return make
