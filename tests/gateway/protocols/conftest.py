"""The real engine, bare and with the protocols in front of it, through the vendors' own SDKs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import openai
import pytest
from translating_transport import TranslatingTransport

from local_ai_suite.demo import write_scripted_gguf
from scripted_engine import engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONTEXT = 16_384
SLOTS = 4


@pytest.fixture(scope="session")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    model = write_scripted_gguf(tmp_path_factory.mktemp("protocols") / "scripted.gguf")
    with engine(model, context=CONTEXT, slots=SLOTS) as running:
        yield running.url


@pytest.fixture(scope="session")
def bare_http(engine_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=engine_url, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def translated_http(engine_url: str) -> Iterator[httpx.Client]:
    """The engine under its own name, ``local-chat``, and under ``gpt-4o``."""
    names = {"gpt-4o": "local-chat"}
    with httpx.Client(
        base_url=engine_url, timeout=30, transport=TranslatingTransport(names)
    ) as client:
        yield client


@pytest.fixture(scope="session")
def sdk() -> Callable[[httpx.Client], openai.OpenAI]:
    def make(http: httpx.Client) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=str(http.base_url).rstrip("/") + "/v1",
            api_key="none",
            http_client=http,
            max_retries=0,
        )

    return make


@pytest.fixture(scope="session")
def bare(sdk: Callable[[httpx.Client], openai.OpenAI], bare_http: httpx.Client) -> openai.OpenAI:
    return sdk(bare_http)


@pytest.fixture(scope="session")
def translated(
    sdk: Callable[[httpx.Client], openai.OpenAI], translated_http: httpx.Client
) -> openai.OpenAI:
    return sdk(translated_http)
