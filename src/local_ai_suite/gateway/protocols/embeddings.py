"""Embeddings, reranking and the tokenizer's routes: passed on as they are but for one number."""

from __future__ import annotations

from local_ai_suite.wire.routes import llama_server

from .endpoint import Asked, Endpoint


def cap_top_n(asked: Asked) -> None:
    """More results than documents is all of them.

    llama.cpp takes ``top_n`` into a 32-bit number: 5,000,000,000 was a 500 with
    "vector::_M_default_append".
    """
    top_n, documents = asked.request.get("top_n"), asked.request.get("documents")
    # An integer above 64 bits is read as a float.
    if not (isinstance(top_n, int | float) and isinstance(documents, list)):
        return
    if top_n > len(documents):
        asked.edit()["top_n"] = len(documents)


ENDPOINTS = (
    Endpoint(llama_server("/v1/rerank"), translations=(cap_top_n,)),
    *(
        Endpoint(llama_server(path))
        for path in ("/v1/embeddings", "/tokenize", "/detokenize", "/apply-template")
    ),
)
