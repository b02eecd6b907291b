"""Reranking through the gateway, by the real engine with a reranking model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest
from rerank_gguf import write_rerank_gguf

from gateway_running import Running, running
from scripted_engine import Engine, engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUERY = "weather in seoul"
DOCUMENTS = ["the stock market falls", "seoul is sunny today", "the weather today"]


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Running]]:
    folder: Path = tmp_path_factory.mktemp("rerank")
    model = write_rerank_gguf(folder / "rerank.gguf")
    with engine(model, context=256, slots=1, mode="rerank") as found, running(found.url) as served:
        httpx.get(f"{served.url}/v1/models")  # now the gateway knows the engine's context
        yield found, served


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank"])
@pytest.mark.parametrize("more", [{}, {"top_n": 2}])
def test_documents_are_ranked_as_the_engine_ranks_them(
    reranker: tuple[Engine, Running], path: str, more: dict[str, int]
) -> None:
    body = {"model": "local-chat", "query": QUERY, "documents": DOCUMENTS, **more}
    direct = httpx.post(f"{reranker[0].url}/v1/rerank", json=body, timeout=30)
    answer = httpx.post(reranker[1].url + path, json=body, timeout=30)
    assert direct.status_code == answer.status_code == 200, answer.text
    found = answer.json()["results"]
    assert found == direct.json()["results"]
    assert len(found) == more.get("top_n", len(DOCUMENTS))
    scores = [entry["relevance_score"] for entry in found]
    assert len(set(scores)) == len(scores)
    assert {entry["index"] for entry in found} <= set(range(len(DOCUMENTS)))
    assert answer.json()["usage"]["total_tokens"] > 0
    assert answer.headers["x-context-used"]


@pytest.mark.parametrize("top_n", [4, 2**31, 122_908_379_429_689, 2**70])
def test_more_results_than_documents_are_all_of_them(
    reranker: tuple[Engine, Running], top_n: int
) -> None:
    body = {"model": "local-chat", "query": QUERY, "documents": DOCUMENTS, "top_n": top_n}
    answer = httpx.post(f"{reranker[1].url}/v1/rerank", content=json.dumps(body), timeout=30)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["results"]) == len(DOCUMENTS)


def test_a_request_without_documents_is_a_clear_400(reranker: tuple[Engine, Running]) -> None:
    body = {"model": "local-chat", "query": QUERY}
    answer = httpx.post(f"{reranker[1].url}/v1/rerank", json=body, timeout=30)
    assert answer.status_code == 400
    assert "documents" in answer.json()["error"]["message"]
