"""A new endpoint, or a new translation, costs one module and its row in the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import orjson
from gateway_fake_engine import STREAM, Talk, fake_engine

from gateway_running import running
from local_ai_suite.engine.routes import FORWARDED
from local_ai_suite.gateway.protocols import ENDPOINTS, Endpoint, by_path
from local_ai_suite.gateway.protocols.errors import Refused
from local_ai_suite.gateway.protocols.events import EventStream
from local_ai_suite.wire.envelope import Envelope
from local_ai_suite.wire.routes import LLAMA_SERVER, Route, spellings

if TYPE_CHECKING:
    from local_ai_suite.gateway.protocols import Asked
    from local_ai_suite.wire.envelope import Error

# What a module of a new protocol holds: {"ask": text} in, a line per piece out.


class PlainEnvelope(Envelope):
    def body(self, status: int, error: Error) -> bytes:
        return orjson.dumps({"failed": f"{status} {error['message']}"})

    def event(self, error: Error) -> bytes:
        return b"failed: " + str(error["message"]).encode() + b"\n"


class PlainStream(EventStream):
    def event(self, data: bytes) -> bytes:
        if data == b"[DONE]":
            return b"."
        delta = orjson.loads(data)["choices"][0]["delta"]
        return str(delta["content"]).encode() + b"\n"


def plain(asked: Asked) -> None:
    request = asked.edit()
    if "ask" not in request:
        raise Refused("'ask' is missing", "ask")
    message = {"role": "user", "content": request["ask"]}
    sent = {"messages": [message], "stream": request.get("stream", False)}
    asked.send("/v1/chat/completions", sent | {"tools": request.get("tools")})
    asked.translate(lambda said: said["choices"][0]["message"]["content"], PlainStream)


PLAIN = Endpoint(
    Route("/plain", "generate", "chat"),
    translations=(plain,),
    envelope=PlainEnvelope(),
    stream_type=b"text/plain",
)


async def engine(talk: Talk) -> None:
    if b'"stream":true' in talk.body:
        await talk.send(STREAM)
        for text in ("one", "two"):
            delta = {"role": "assistant", "content": text}
            chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
            await talk.chunk(b"data: " + orjson.dumps(chunk) + b"\n\n")
        if b"cut" in talk.body:
            talk.cut()
            return
        await talk.chunk(b"data: [DONE]\n\n")
        await talk.end()
    else:
        await talk.json({"choices": [{"message": {"content": "whole"}}]})


def test_an_endpoint_of_a_new_protocol_is_one_row() -> None:
    table = {**ENDPOINTS, **by_path([PLAIN])}
    with fake_engine(engine) as fake, running(fake.url, endpoints=table) as served:

        def ask(path: str = "/plain", **request: object) -> httpx.Response:
            body = {"model": "local-chat", **request}
            return httpx.post(served.url + path, json=body, timeout=10)

        assert ask(ask="x").json() == "whole"
        assert b"GET" not in fake.requests[0].head
        assert fake.requests[0].head.startswith(b"POST /v1/chat/completions ")
        streamed = ask("/v1/plain", ask="x", stream=True)
        assert (streamed.text, streamed.headers["content-type"]) == ("one\ntwo\n.", "text/plain")
        assert ask(ask="cut", stream=True).text.startswith("one\ntwo\nfailed: ")
        assert ask().json() == {"failed": "400 'ask' is missing"}
        assert ask(ask="x", model="nope").json()["failed"].startswith("404 The model 'nope'")
        assert httpx.get(f"{served.url}/plain").json() == {"failed": "405 /plain takes POST."}


def test_what_concerns_the_engines_chat_stands_once_for_all_that_become_chat() -> None:
    function = {"name": "f", "description": None}
    table = {**ENDPOINTS, **by_path([PLAIN])}
    with fake_engine(engine) as fake, running(fake.url, endpoints=table) as served:
        body = {"model": "local-chat", "ask": "x", "tools": [{"function": function}]}
        httpx.post(f"{served.url}/plain", json=body, timeout=10)
        assert orjson.loads(fake.requests[0].body)["tools"] == [{"function": {"name": "f"}}]


def test_a_route_of_the_engine_is_one_row_for_both_ports() -> None:
    route = Route("/v1/new", "generate", "chat", ("/new",))
    assert set(by_path([Endpoint(route)])) == {"/v1/new", "/new"}
    assert set(spellings((*LLAMA_SERVER, route))) - set(FORWARDED) == {"/v1/new", "/new"}
    own = {endpoint.route for endpoint in ENDPOINTS.values()} - set(LLAMA_SERVER)
    assert all(route.path.startswith(("/api/", "/cursor/")) for route in own)
