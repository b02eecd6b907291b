"""One real engine with a scripted model, and a gateway in front of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from gateway_running import Running, running
from local_ai_suite.demo import write_scripted_gguf
from scripted_engine import Engine, engine

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def real_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    model = write_scripted_gguf(tmp_path_factory.mktemp("gateway") / "scripted.gguf")
    with engine(model, context=8192, slots=4) as found:
        yield found


@pytest.fixture(scope="session")
def served(real_engine: Engine) -> Iterator[Running]:
    with running(real_engine.url) as found:
        yield found


@pytest.fixture
def client(served: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=30) as found:
        yield found
