"""Upstreams that stall, die, lie; clients that leave, or read slowly."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import anthropic
import httpx
import openai
import orjson
import pytest
from gateway_fake_engine import STREAM, Talk, fake_engine

from gateway_running import Running, running
from local_ai_suite.gateway.heartbeat import Pace

CHAT = {"model": "local-chat", "messages": [{"role": "user", "content": "hi"}]}
STREAMED = {**CHAT, "stream": True}
PIECE = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
BOUND = 10.0


def post(
    served: Running, body: dict[str, object], path: str = "/v1/chat/completions"
) -> httpx.Response:
    return httpx.post(f"{served.url}{path}", json=body, timeout=BOUND)


def raw_post(served: Running, body: dict[str, object], path: str) -> socket.socket:
    """A client's socket that has sent its request and reads nothing yet."""
    text = orjson.dumps(body)
    client = socket.create_connection(("127.0.0.1", served.port), timeout=BOUND)
    client.sendall(
        b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n"
        % (path.encode(), len(text))
        + text
    )
    return client


def body_for(path: str, *, stream: bool) -> dict[str, object]:
    body: dict[str, object] = {"model": "local-chat", "stream": stream}
    if path == "/v1/responses":
        return body | {"input": "x"}
    return body | {**CHAT, "input": "x", "prompt": "x", "max_tokens": 5, "stream": stream}


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.005)


def test_pieces_reach_the_client_as_they_come() -> None:
    async def script(talk: Talk) -> None:
        await talk.send(STREAM)
        await talk.chunk(PIECE)
        await asyncio.sleep(0.05)  # the second piece is not there when the first is passed on
        await talk.until_closed()

    with fake_engine(script) as fake, running(fake.url) as served:
        client = httpx.stream("POST", f"{served.url}/v1/chat/completions", json=STREAMED)
        with client as answer:
            assert next(answer.iter_raw()) == PIECE


def test_a_character_cut_in_two_by_the_engine_arrives_whole() -> None:
    text = 'data: {"content":"한"}\n\n'.encode()

    async def script(talk: Talk) -> None:
        await talk.send(STREAM)
        for cut in (text[:19], text[19:20], text[20:]):
            await talk.chunk(cut)
            await asyncio.sleep(0.01)
        await talk.end()

    with fake_engine(script) as fake, running(fake.url) as served:
        assert post(served, STREAMED).content == text


@pytest.mark.parametrize(("status", "code"), [(b"503 X", 503), (b"429 X", 429), (b"400 X", 400)])
def test_an_early_error_keeps_its_status_also_for_a_stream(status: bytes, code: int) -> None:
    async def script(talk: Talk) -> None:
        await talk.json({"error": {"message": "no", "code": code, "type": "t"}}, status)

    with fake_engine(script) as fake, running(fake.url) as served:
        answer = post(served, STREAMED)
        assert answer.status_code == code
        assert answer.json()["error"]["message"] == "no"


def test_a_stream_that_waits_long_gets_heartbeats_and_then_its_bytes() -> None:
    async def script(talk: Talk) -> None:
        await asyncio.sleep(0.35)
        await talk.send(STREAM)
        await asyncio.sleep(0.2)
        await talk.chunk(PIECE)
        await talk.chunk(DONE)
        await talk.end()

    with fake_engine(script) as fake, running(fake.url, pace=Pace(0.1, 0.1)) as served:
        answer = post(served, STREAMED)
        beats, _, rest = answer.content.partition(b"data: ")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        assert beats.count(b": ") >= 2
        assert all(line.startswith(b": ") for line in beats.split(b"\n") if line)
        assert b"data: " + rest == PIECE + DONE


@pytest.mark.parametrize(
    ("body", "path", "event"),
    [
        (STREAMED, "/v1/chat/completions", b'data: {"error":'),
        (STREAMED, "/v1/messages", b"event: error\ndata: "),
    ],
)
def test_an_error_after_the_heartbeats_is_an_event(
    body: dict[str, object], path: str, event: bytes
) -> None:
    async def script(talk: Talk) -> None:
        await asyncio.sleep(0.2)
        await talk.json({"error": {"message": "too late"}}, b"503 X")

    with fake_engine(script) as fake, running(fake.url, pace=Pace(0.05)) as served:
        answer = post(served, body, path)
        assert answer.status_code == 200
        assert b"\n\n" + event in answer.content
        assert b"too late" in answer.content


def test_a_whole_answer_never_gets_heartbeats() -> None:
    async def script(talk: Talk) -> None:
        await asyncio.sleep(0.2)
        await talk.json({"a": 1})

    with fake_engine(script) as fake, running(fake.url, pace=Pace(0.05)) as served:
        assert post(served, CHAT).content == b'{"a":1}'


@pytest.mark.parametrize(
    ("path", "event"),
    [
        ("/v1/chat/completions", b'data: {"error":'),
        ("/v1/completions", b'data: {"error":'),
        ("/v1/messages", b"event: error\ndata: "),
        ("/v1/responses", b"event: response.failed\ndata: "),
        ("/api/chat", b'{"error":'),
    ],
)
def test_an_engine_that_dies_in_mid_stream_ends_it_with_an_error_event(
    path: str, event: bytes
) -> None:
    async def script(talk: Talk) -> None:
        await talk.send(STREAM)
        await talk.chunk(PIECE)
        await asyncio.sleep(0.05)
        talk.cut()

    with fake_engine(script) as fake, running(fake.url) as served:
        answer = post(served, body_for(path, stream=True), path)
        assert answer.status_code == 200
        assert event in answer.content


HALF = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 502, "upstream_closed"),
        (b"HTTP/1.1 200", 502, "upstream_closed"),
        (HALF, 502, "upstream_closed"),
        (b"\x16\x03\x01 not http\r\n\r\n", 502, "upstream_garbage"),
        (STREAM + b"zz\r\n", 502, "upstream_garbage"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", 502, "upstream_garbage"),
    ],
)
@pytest.mark.parametrize("body", [CHAT, STREAMED], ids=["whole", "stream"])
def test_what_is_no_answer_is_a_clear_502(
    data: bytes, status: int, code: str, body: dict[str, object]
) -> None:
    async def script(talk: Talk) -> None:
        await talk.send(data)
        talk.writer.close()

    with fake_engine(script) as fake, running(fake.url) as served:
        answer = post(served, body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_an_engine_that_is_not_there_is_a_503_with_a_time_to_come_back() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with running(f"http://127.0.0.1:{port}") as served:
        answer = post(served, STREAMED)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "engine_unreachable"
        assert int(answer.headers["retry-after"]) > 0
        assert httpx.get(f"{served.url}/health/readiness").json()["engine"] == "unreachable"
        names = [entry["id"] for entry in httpx.get(f"{served.url}/v1/models").json()["data"]]
        assert "local-chat" in names


def test_a_silent_engine_is_given_up_in_time(tmp_path: object) -> None:
    async def script(talk: Talk) -> None:
        await talk.until_closed()

    with fake_engine(script) as fake, running(fake.url) as served:
        for member in served.gateway.upstreams:
            member.client.silence_timeout_s = 0.1
        answer = post(served, CHAT)
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "upstream_timeout")


ROUTES = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
    "/v1/rerank",
    "/infill",
    "/tokenize",
    "/apply-template",
    "/api/chat",
    "/api/generate",
]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_hang_up_closes_the_upstream_at_once_on_every_route(path: str, stream: bool) -> None:
    async def script(talk: Talk) -> None:
        if stream:
            await talk.send(STREAM)
            await talk.chunk(PIECE)
        await talk.until_closed()

    body = body_for(path, stream=stream)
    with fake_engine(script) as fake, running(fake.url) as served:
        client = raw_post(served, body, path)
        assert fake.begun.wait(BOUND)
        client.close()
        assert fake.closed.wait(BOUND), "the upstream was left running"
        until(lambda: served.gateway.metrics.in_flight == 0, "the call's end")
        assert all(running == 0 for running, _ in served.gateway.upstreams.counts().values())
        assert 'status="499"' in httpx.get(f"{served.url}/metrics").text


def test_who_hangs_up_in_the_queue_never_reaches_the_engine() -> None:
    async def script(talk: Talk) -> None:
        await talk.until_closed()

    with fake_engine(script, slots=1) as fake, running(fake.url) as served:
        httpx.get(f"{served.url}/v1/models")  # now the slots are known
        first = raw_post(served, STREAMED, "/v1/chat/completions")
        assert fake.begun.wait(BOUND)
        second = raw_post(served, STREAMED, "/v1/chat/completions")
        upstreams = served.gateway.upstreams
        until(lambda: upstreams.counts()["local-chat", "chat"] == (1, 1), "the queue")
        second.close()
        until(lambda: upstreams.counts()["local-chat", "chat"] == (1, 0), "the queue's end")
        first.close()
        assert fake.closed.wait(BOUND)
        assert len(fake.requests) == 1


def test_a_slow_reader_holds_the_engine_back_instead_of_filling_memory() -> None:
    sent = 0
    total = 64 * 1024 * 1024

    async def script(talk: Talk) -> None:
        nonlocal sent
        await talk.send(STREAM)
        piece = b"data: " + b"x" * 65_000 + b"\n\n"
        while sent < total:
            await talk.chunk(piece)
            sent += len(piece)

    with fake_engine(script) as fake, running(fake.url) as served:
        client = raw_post(served, STREAMED, "/v1/chat/completions")
        assert fake.begun.wait(BOUND)
        before = -1
        while sent != before:  # until the engine stands still
            before = sent
            time.sleep(0.2)
        assert sent < total / 2
        client.close()


def test_the_engine_gets_its_own_key_and_none_of_the_clients(tmp_path: object) -> None:
    async def script(talk: Talk) -> None:
        await talk.json({})

    headers = {"authorization": "Bearer theirs", "x-api-key": "theirs", "cookie": "c=theirs"}
    with fake_engine(script) as fake, running(fake.url) as served:
        httpx.post(f"{served.url}/v1/chat/completions", json=STREAMED, headers=headers)
        head = fake.requests[0].head.lower()
        assert b"authorization: bearer internal\r\n" in head
        assert b"theirs" not in head
        assert fake.requests[0].body == orjson.dumps(STREAMED)
        assert head.count(b"content-length") == 1


def test_a_request_that_needs_no_translation_and_its_answer_are_passed_on_byte_for_byte() -> None:
    odd = b'{ "stream":true, "model" : "local-chat",\n "prompt":"\\u00e9 ", "x":1e2}'
    said = b'{"b":1,  "a":"\xc3\xa9", "model":"whatever"}\n'

    async def script(talk: Talk) -> None:
        await talk.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(said) + said)

    with fake_engine(script) as fake, running(fake.url) as served:
        answer = httpx.post(f"{served.url}/v1/chat/completions", content=odd)
        assert fake.requests[0].body == odd
        assert answer.content == said


def test_an_alias_is_put_in_both_ways_also_when_the_engine_answers_by_another_name() -> None:
    async def script(talk: Talk) -> None:
        if b"stream" in talk.body:
            await talk.send(STREAM)
            await talk.chunk(b'data: {"model":"loc')
            await asyncio.sleep(0.02)
            await talk.chunk(b'al-chat"}\n\n')
            await talk.end()
        else:
            await talk.json({"model": "local-chat", "choices": []})

    with fake_engine(script) as fake, running(fake.url) as served:
        httpx.get(f"{served.url}/v1/models")  # now the engine has said its names
        for name in ("qwen2.5-coder", "local-code"):
            assert post(served, {**CHAT, "model": name}).json()["model"] == name
            streamed = post(served, {**STREAMED, "model": name})
            assert streamed.content == b'data: {"model":"%b"}\n\n' % name.encode()
        models = {orjson.loads(talk.body)["model"] for talk in fake.requests}
        assert models == {"local-chat"}


LLAMA_ERROR = b'{"code":500,"message":"the slot failed","type":"server_error"}'


@pytest.mark.parametrize("cut", [0, 20])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/infill"])
def test_the_engines_error_in_a_stream_has_openais_form(path: str, cut: int) -> None:
    event = b'data: {"error":' + LLAMA_ERROR + b"}\n\n"

    async def script(talk: Talk) -> None:
        await talk.send(STREAM)
        await talk.chunk(PIECE + event[:cut] if cut else PIECE)
        await asyncio.sleep(0.02)
        await talk.chunk(event[cut:])
        await talk.end()

    with fake_engine(script) as fake, running(fake.url) as served:
        answer = post(served, {**STREAMED, "prompt": "x"}, path)
        first, last = answer.content.removesuffix(b"\n\n").split(b"\n\n")
        assert first + b"\n\n" == PIECE
        said = orjson.loads(last.removeprefix(b"data: "))["error"]
        assert said == {
            "message": "the slot failed", "type": "server_error", "param": None, "code": None
        }  # fmt: skip
        assert 'code="upstream error"' in httpx.get(f"{served.url}/metrics").text


def test_the_engines_error_in_a_stream_is_raised_by_both_sdks() -> None:
    async def script(talk: Talk) -> None:
        await talk.send(STREAM)
        if b"/v1/messages" in talk.head:
            await talk.chunk(b'event: ping\ndata: {"type":"ping"}\n\n')
            await talk.chunk(b"event: error\ndata: " + LLAMA_ERROR + b"\n\n")
        else:
            await talk.chunk(b'data: {"error":' + LLAMA_ERROR + b"}\n\n")
        await talk.end()

    with fake_engine(script) as fake, running(fake.url) as served:
        ours = openai.OpenAI(base_url=f"{served.url}/v1", api_key="x", max_retries=0)
        theirs = anthropic.Anthropic(base_url=served.url, api_key="x", max_retries=0)
        messages: Any = CHAT["messages"]
        with pytest.raises(openai.APIError, match="the slot failed"):
            list(ours.chat.completions.create(model="local-chat", messages=messages, stream=True))
        with pytest.raises(openai.APIError, match="the slot failed"):
            list(ours.completions.create(model="local-chat", prompt="x", stream=True))
        events = list(ours.responses.create(model="local-chat", input="x", stream=True))
        failed: Any = events[-1]
        assert failed.type == "response.failed"
        assert failed.response.error.message == "the slot failed"
        with pytest.raises(anthropic.APIStatusError) as found:
            list(
                theirs.messages.create(
                    model="local-chat", max_tokens=9, messages=messages, stream=True
                )
            )
        assert found.value.body == {
            "type": "error", "error": {"type": "api_error", "message": "the slot failed"}
        }  # fmt: skip
        lines = post(served, STREAMED, "/api/chat").content.splitlines()
        assert orjson.loads(lines[-1]) == {"error": "the slot failed"}


def test_words_of_the_model_about_errors_are_no_error() -> None:
    text = orjson.dumps(
        {"choices": [{"delta": {"content": '\n\ndata: {"error": 1}\nevent: error\n'}}]}
    )

    async def script(talk: Talk) -> None:
        await talk.send(STREAM)
        await talk.chunk(b"data: " + text + b"\n\n" + DONE)
        await talk.end()

    with fake_engine(script) as fake, running(fake.url) as served:
        assert post(served, STREAMED).content == b"data: " + text + b"\n\n" + DONE
