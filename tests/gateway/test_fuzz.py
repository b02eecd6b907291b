"""Any request, any answer: no 500 of our own, no hang, nothing left behind.

A few hundred cases here; ten thousand in the slow tier (``pytest -m slow``).
"""

from __future__ import annotations

import itertools
import json
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from gateway_fake_engine import STREAM, Talk, fake_engine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway_running import Running, running
from local_ai_suite.gateway.protocols import ENDPOINTS

if TYPE_CHECKING:
    from collections.abc import Iterator

BOUND = 10.0
FEW, MANY = 150, 10_000

scalars = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=12)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
models = st.sampled_from(["local-chat", "qwen2.5-coder", "local-chat:latest", "nope", ""])
names = st.sampled_from(
    ["messages", "prompt", "input", "stream", "tools", "tool_choice", "suffix", "max_tokens", "n",
     "stop", "response_format", "stream_options", "previous_response_id", "text", "instructions",
     "options", "format", "images", "system", "content", "echo", "logprobs", "include"]
)  # fmt: skip
tools = st.just([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}])
choices = st.sampled_from(["auto", "required", {"type": "function", "function": {"name": "f"}},
                           {"type": "tool", "name": "f"}, {"type": "allowed_tools"}])  # fmt: skip
bodies = st.builds(
    lambda base, more, model: {**base, **more, **({"model": model} if model is not None else {})},
    st.dictionaries(names, values, max_size=5),
    st.fixed_dictionaries(
        {},
        optional={
            "stream": st.booleans(),
            "messages": st.just([{"role": "user", "content": "x"}]),
            "input": st.just("x"),
            "prompt": st.just("x"),
            "suffix": st.just("y"),
            "tools": tools,
            "tool_choice": choices,
        },
    ),
    models | values,
)
paths = st.sampled_from([*ENDPOINTS, "/api/show", "/v1/models", "/", "/v1/%2e%2e/x", "/metrics"])

ANSWERS = [
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\nnull",
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n{{{",
    b'HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{"choices":[3]}',
    b'HTTP/1.1 500 X\r\ncontent-length: 13\r\n\r\n{"error":"x"}',
    b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 404 X\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
    b"HTTP/1.1 204 X\r\n\r\n",
    STREAM + b"0\r\n\r\n",
    STREAM + b"a\r\ndata: {}\n\n\r\n0\r\n\r\n",
    STREAM + b"c\r\ndata: null\n\n\r\n0\r\n\r\n",
    STREAM + b"b\r\ndata: {{{\n\n\r\n0\r\n\r\n",
    STREAM + b'1a\r\ndata: {"choices":[{}, 1]}\n\r\n0\r\n\r\n',
    STREAM + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n",
    STREAM + b"5\r\n\xff\xfe\x00\r\n\r\n0\r\n\r\n",
    STREAM + b"5\r\nab",
    b"nonsense",
]


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Running]:
    """A gateway over an engine that gives each of ANSWERS in turn."""
    turn = itertools.cycle(ANSWERS)

    async def script(talk: Talk) -> None:
        data = next(turn)
        await talk.send(data)
        if not data.endswith((b"}", b"null", b"0\r\n\r\n", b"<html>")):
            talk.writer.close()

    with fake_engine(script) as fake, running(fake.url) as served:
        yield served


def check(served: Running, client: httpx.Client, path: str, content: bytes) -> None:
    answer = client.post(path, content=content)
    text = answer.text[:500]
    assert answer.status_code != 500 or "internal_error" not in text, text
    assert answer.status_code < 600
    if answer.status_code >= 400:
        assert "error" in answer.json(), text
    assert answer.headers["x-request-id"]


def fuzz_bodies(served: Running, examples: int) -> None:
    with httpx.Client(base_url=served.url, timeout=BOUND) as client:

        @settings(
            max_examples=examples, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(paths, bodies)
        def one(path: str, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()  # NaN and huge numbers too
            check(served, client, path, content)

        one()
    counts = served.gateway.upstreams.counts()
    assert all(pair == (0, 0) for pair in counts.values()), counts


LINES = [
    b"POST /v1/chat/completions HTTP/1.1\r\n",
    b"GET /v1/models HTTP/1.0\r\n",
    b"PUT / HTTP/1.1\r\n",
    b"POST /v1/%ff%00 HTTP/1.1\r\n",
    b"GET http://x/ HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
]
FIELDS = [
    b"host: localhost\r\n",
    b"host: evil\r\n",
    b"content-length: 5\r\n",
    b"content-length: -1\r\n",
    b"transfer-encoding: chunked\r\n",
    b"transfer-encoding: gzip, chunked\r\n",
    b"x: \x00\r\n",
    b"upgrade: h2c\r\nconnection: upgrade\r\n",
    b"expect: 100-continue\r\n",
    b": x\r\n",
    b"x-request-id: \xff\r\n",
    b"origin: null\r\n",
    b"content-encoding: gzip\r\n",
    b" folded\r\n",
]


def fuzz_bytes(served: Running, examples: int) -> None:
    line = st.sampled_from(LINES)
    field = st.sampled_from(FIELDS)
    requests = st.builds(
        lambda first, fields, body: first + b"".join(fields) + b"\r\n" + body,
        line | st.binary(max_size=20),
        st.lists(field, max_size=5),
        st.binary(max_size=40) | st.just(b'{"model":"local-chat"}'),
    )

    @settings(
        max_examples=examples, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(requests)
    def one(data: bytes) -> None:
        with socket.create_connection(("127.0.0.1", served.port), timeout=BOUND) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            said = b""
            try:
                while piece := client.recv(65536):
                    said += piece
            except ConnectionResetError:
                pass
        assert not said.startswith(b"HTTP/1.1 500"), said[:300]
        assert said == b"" or said.startswith(b"HTTP/1.1 "), said[:100]

    one()


def test_a_few_hundred_bodies_get_a_clear_answer(fuzzed: Running) -> None:
    fuzz_bodies(fuzzed, FEW)


def test_a_few_hundred_byte_strings_get_a_bounded_answer(fuzzed: Running) -> None:
    fuzz_bytes(fuzzed, FEW)
    assert httpx.get(f"{fuzzed.url}/health/liveliness").status_code == 200


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousand_bodies_get_a_clear_answer(fuzzed: Running) -> None:
    fuzz_bodies(fuzzed, MANY)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousand_byte_strings_get_a_bounded_answer(fuzzed: Running) -> None:
    fuzz_bytes(fuzzed, MANY)
    assert httpx.get(f"{fuzzed.url}/health/liveliness").status_code == 200
