"""Local routes over the real engine."""

from __future__ import annotations

import httpx
import orjson
import pytest

from scripted_engine import Engine

CHAT = {
    "model": "local-chat",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 8,
}


def test_models_carry_the_engines_limits(client: httpx.Client) -> None:
    listed = client.get("/v1/models").json()
    assert [entry["id"] for entry in listed["data"]] == ["local-chat"]
    entry = listed["data"][0]
    assert entry["context_length"] == entry["max_input_tokens"] == 2048
    assert client.get("/v1/models/local-chat").json() == entry
    assert client.get("/models/").json() == listed


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", CHAT),
        ("//v1/chat/completions/", CHAT),
        ("/chat/completions", CHAT),
        ("/v1/messages", CHAT),
        ("/v1/messages/count_tokens", CHAT),
        ("/v1/responses", {"model": "local-chat", "input": "hi"}),
        ("/v1/completions", {"model": "local-chat", "prompt": "hi", "max_tokens": 2}),
        ("/tokenize", {"content": "hi"}),
        ("/v1/tokenize", {"content": "hi"}),
        ("/detokenize", {"tokens": [1, 2]}),
        ("/apply-template", {"messages": CHAT["messages"]}),
    ],
)
def test_each_route_answers_with_and_without_v1(
    client: httpx.Client, path: str, body: dict[str, object]
) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    assert "total;dur=" in answer.headers["server-timing"]


def test_an_answer_is_what_the_engine_said(client: httpx.Client, real_engine: Engine) -> None:
    body = {**CHAT, "temperature": 0, "logprobs": True, "top_logprobs": 2, "seed": 1}

    def stable(text: bytes) -> dict[str, object]:
        return {k: v for k, v in orjson.loads(text).items() if k not in {"id", "timings", "usage"}}

    relayed = client.post("/v1/chat/completions", json=body)
    direct = httpx.post(f"{real_engine.url}/v1/chat/completions", json=body)
    assert list(orjson.loads(relayed.content)) == list(orjson.loads(direct.content))
    assert stable(relayed.content)["choices"] == stable(direct.content)["choices"]
    assert orjson.loads(relayed.content)["timings"]
    used = orjson.loads(relayed.content)["usage"]["total_tokens"]
    assert relayed.headers["x-context-used"] == str(used)
    assert relayed.headers["x-context-limit"] == "2048"


def test_a_stream_ends_with_done_and_is_not_buffered(client: httpx.Client) -> None:
    with client.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-accel-buffering"] == "no"
        events = [line for line in answer.iter_lines() if line]
    assert events[-1] == "data: [DONE]"
    text = "".join(
        orjson.loads(event[6:])["choices"][0]["delta"].get("content") or "" for event in events[:-1]
    )
    assert text == "Hello from the scripted model."


def test_an_unknown_model_is_a_404_in_the_envelope_of_its_api(client: httpx.Client) -> None:
    body = {**CHAT, "model": "nope"}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert "local-chat" in answer.json()["error"]["message"]
    assert client.post("/v1/messages", json=body).json()["error"]["type"] == "not_found_error"
    answer = client.get("/v1/models/nope")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_a_context_overflow_has_openais_code_and_both_numbers(client: httpx.Client) -> None:
    body = {**CHAT, "messages": [{"role": "user", "content": "hi " * 5000}]}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "context_length_exceeded"
    assert error["n_ctx"] == 2048
    assert error["n_prompt_tokens"] > 2048


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b'{"model":', "invalid_request"),
        (b"", "invalid_request"),
        (b"[]", "invalid_request"),
        (b'"x"', "invalid_request"),
        (b"\xff\xfe", "invalid_request"),
        (b'{"model":3}', "missing_model"),
        (b'{"model":""}', "missing_model"),
        (b"[" * 100_000, "invalid_request"),
    ],
)
def test_a_body_that_names_no_model_is_a_clear_400(
    client: httpx.Client, content: bytes, code: str
) -> None:
    answer = client.post("/v1/chat/completions", content=content)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code


def test_a_body_over_the_limit_is_a_413(client: httpx.Client) -> None:
    answer = client.post("/v1/chat/completions", content=b" " * (4 * 1024 * 1024 + 1))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"


def test_other_paths_and_methods_are_refused_in_the_envelope(client: httpx.Client) -> None:
    assert client.get("/v1/nothing").json()["error"]["code"] == "not_found"
    assert client.post("/v1/nothing").status_code == 404
    answer = client.get("/v1/chat/completions")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")


def test_a_request_id_is_kept_or_made(client: httpx.Client) -> None:
    given = client.get("/v1/models", headers={"x-request-id": "mine-1"})
    assert given.headers["x-request-id"] == "mine-1"
    made = {client.get("/v1/models").headers["x-request-id"] for _ in range(2)}
    assert len(made) == 2
    bad = client.get("/v1/models", headers={"x-request-id": "x" * 500})
    assert len(bad.headers["x-request-id"]) == 24


def test_a_web_page_from_elsewhere_is_refused_and_one_from_here_gets_its_headers(
    client: httpx.Client,
) -> None:
    answer = client.post(
        "/v1/chat/completions", json=CHAT, headers={"origin": "https://evil.example"}
    )
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    here = "http://localhost:3000"
    answer = client.post("/v1/chat/completions", json=CHAT, headers={"origin": here})
    assert answer.headers.get_list("access-control-allow-origin") == [here]
    answer = client.options(
        "/v1/chat/completions",
        headers={"origin": here, "access-control-request-headers": "authorization,x-y"},
    )
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-headers"] == "authorization,x-y"
    assert answer.headers.get_list("access-control-allow-origin") == [here]


def test_a_foreign_host_is_refused(client: httpx.Client) -> None:
    answer = client.get("/v1/models", headers={"host": "evil.example"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "host_not_allowed")
