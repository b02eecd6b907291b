"""Embeddings, reranking and the tokenizer's routes: passed on as they are but for two things."""

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


def without_nulls(asked: Asked) -> None:
    """A member that is null is one that is not there: llama.cpp refuses ``encoding_format``."""
    if None in asked.request.values():
        request = asked.edit()
        for name in [name for name, value in request.items() if value is None]:
            del request[name]


ENDPOINTS = (
    Endpoint(llama_server("/v1/rerank"), translations=(without_nulls, cap_top_n)),
    Endpoint(llama_server("/v1/embeddings"), translations=(without_nulls,)),
    *(Endpoint(llama_server(path)) for path in ("/tokenize", "/detokenize", "/apply-template")),
)
