"""Inputs longer than the engine embeds at once, and nulls among the members, through real parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gateway_running import running
from local_ai_suite.demo import write_scripted_gguf
from scripted_engine import engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AT_ONCE = 512
"""llama.cpp's physical batch, where nobody sets another."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    model: Path = tmp_path_factory.mktemp("embed") / "embed.gguf"
    write_scripted_gguf(model)
    with (
        engine(model, alias="local-embed", mode="embed") as served,
        running(served.url) as gateway,
        httpx.Client(base_url=gateway.url, timeout=60, trust_env=False) as client,
    ):
        yield client


@pytest.mark.parametrize("texts", ["word " * 600, ["fine", "word " * 600]])
def test_a_text_that_is_too_long_is_a_400_with_both_numbers(
    client: httpx.Client, texts: Any
) -> None:
    answer = client.post("/v1/embeddings", json={"model": "local-embed", "input": texts})
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert (error["code"], error["param"]) == ("context_length_exceeded", "input")
    assert error["n_prompt_tokens"] > error["n_ctx"] == AT_ONCE
    assert "batch" not in error["message"]


def test_members_that_are_null_are_as_good_as_none(client: httpx.Client) -> None:
    body = {"model": "local-embed", "input": "hi", "encoding_format": None, "dimensions": None}
    answer = client.post("/v1/embeddings", json=body)
    assert answer.status_code == 200
    assert answer.json()["data"][0]["embedding"]
