"""The gateway over the real engine, with the model that answered the real clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

import client_corpus
from client_script import script_for
from gateway_running import running
from local_ai_suite.demo import write_scripted_gguf
from scripted_engine import engine

if TYPE_CHECKING:
    from collections.abc import Iterator

_ANSWER_S = 60.0


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("replay")
    script = script_for(client_corpus.WORK)
    model = write_scripted_gguf(folder / "scripted.gguf", script)
    with (
        engine(model, alias="local-code", context=65_536, slots=1) as real,
        running(real.url) as served,
        httpx.Client(base_url=served.url, timeout=_ANSWER_S) as client,
    ):
        yield client
