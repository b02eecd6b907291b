"""Embeddings, the model list, Ollama's routes."""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING

import ollama
from checks import (
    EMBEDDINGS,
    HELLO,
    Differs,
    check,
    openai_error,
    post,
    refused,
    same,
    true,
    user,
    valid,
)  # fmt: skip
from openai.types import CreateEmbeddingResponse, Model

if TYPE_CHECKING:
    from targets import Target

E = "local-embed"


@check
def embeddings(t: Target) -> None:
    said = valid(CreateEmbeddingResponse, post(t, EMBEDDINGS, model=E, input=["a", "b"]))
    same([item.index for item in said.data], [0, 1], "not 2 vectors")
    true(len(said.data[0].embedding) > 8, "a short vector")


@check
def embeddings_as_base64(t: Target) -> None:
    said = post(t, EMBEDDINGS, model=E, input="a", encoding_format="base64")
    text = said["data"][0]["embedding"]
    if not isinstance(text, str):
        raise Differs("not base64")
    raw = base64.b64decode(text)
    plain = post(t, EMBEDDINGS, model=E, input="a")["data"][0]["embedding"]
    packed = struct.unpack(f"<{len(plain)}f", raw)
    true(max(abs(a - b) for a, b in zip(packed, plain, strict=True)) < 1e-6, "other numbers")


@check
def embeddings_through_the_SDK(t: Target) -> None:  # noqa: N802
    said = t.embedder.embeddings.create(model=E, input=["a"])
    true(isinstance(said.data[0].embedding, list), "not numbers")


@check
def embeddings_of_tokens(t: Target) -> None:
    said = post(t, EMBEDDINGS, model=E, input=[[72, 105], [72]])
    same(len(said["data"]), 2, "not 2 vectors")


@check
def embeddings_of_nothing_are_refused(t: Target) -> None:
    answer = t.http.post(t.embed_url + EMBEDDINGS, json={"model": E, "input": []})
    same(answer.status_code, 400, f"{answer.status_code}")


@check
def rerank_without_such_a_model_is_refused(t: Target) -> None:
    status, said = refused(t, "/v1/rerank", query="a", documents=["b"])
    true(400 <= status < 502, f"{status}")
    openai_error(said)


@check
def model_list(t: Target) -> None:
    listed = [valid(Model, m) for m in t.http.get("/v1/models").json()["data"]]
    true("local-chat" in {model.id for model in listed}, "local-chat is not in it")


@check
def model_list_tells_the_context(t: Target) -> None:
    listed = t.http.get("/v1/models").json()["data"]
    entry = next(m for m in listed if m["id"] == "local-chat")
    known = entry.get("context_length") or (entry.get("meta") or {}).get("n_ctx")
    true(known, "no context length")


@check
def one_model(t: Target) -> None:
    same(t.openai.models.retrieve("local-chat").id, "local-chat", "another model")


@check
def unknown_model_is_not_listed(t: Target) -> None:
    answer = t.http.get("/v1/models/nobody")
    same(answer.status_code, 404, f"{answer.status_code}")
    openai_error(answer.json())


def client(t: Target) -> ollama.Client:
    return ollama.Client(host=t.url, timeout=60)


@check
def ollama_version(t: Target) -> None:
    answer = t.http.get("/api/version")
    answer.raise_for_status()
    true(answer.json().get("version"), "no version")


@check
def ollama_tags_and_show(t: Target) -> None:
    names = [model.model for model in client(t).list().models]
    true("local-chat" in names, "local-chat is not in it")
    shown = client(t).show("local-chat")
    true("completion" in (shown.capabilities or []), "no capabilities")


@check
def ollama_chat(t: Target) -> None:
    said = client(t).chat(model="local-chat:latest", messages=user("hi"))
    same(said.message.content, HELLO, "another text")


@check
def ollama_chat_streamed(t: Target) -> None:
    parts = client(t).chat(model="local-chat", messages=user("hi"), stream=True)
    same("".join(p.message.content or "" for p in parts), HELLO, "another text")


@check
def ollama_embed(t: Target) -> None:
    said = client(t).embed(model=E, input=["a", "b"])
    same(len(said.embeddings), 2, "not 2 vectors")
