"""Embeddings, reranking and the tokenizer's routes: passed on as they are."""

from __future__ import annotations

from local_ai_suite.wire.routes import llama_server

from .endpoint import Endpoint

ENDPOINTS = tuple(
    Endpoint(llama_server(path))
    for path in (
        "/v1/embeddings",
        "/v1/rerank",
        "/tokenize",
        "/detokenize",
        "/apply-template",
    )
)
