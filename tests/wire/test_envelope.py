"""Error bodies in the shape of the API that was called."""

from __future__ import annotations

import orjson
import pytest

from local_ai_suite.wire.asgi import BodyTooLarge
from local_ai_suite.wire.envelope import api_of, error_body, error_event, from_error


@pytest.mark.parametrize(
    ("path", "api"),
    [
        ("/v1/messages", "anthropic"),
        ("/v1/messages/count_tokens", "anthropic"),
        ("/api/chat", "ollama"),
        ("/v1/chat/completions", "openai"),
        ("/nothing", "openai"),
    ],
)
def test_the_path_tells_the_api(path: str, api: str) -> None:
    assert api_of(path) == api


def test_each_api_gets_its_own_shape() -> None:
    openai = orjson.loads(error_body("openai", 404, "m", code="model_not_found", param="model"))
    assert openai == {
        "error": {
            "message": "m",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }
    anthropic = orjson.loads(error_body("anthropic", 401, "m"))
    assert anthropic == {
        "type": "error",
        "error": {"type": "authentication_error", "message": "m"},
    }
    assert orjson.loads(error_body("ollama", 500, "m")) == {"error": "m"}


def test_a_suite_error_becomes_a_body_with_its_hint() -> None:
    body = orjson.loads(from_error("openai", BodyTooLarge("Too large.", hint="Send less.")))
    assert body["error"]["message"] == "Too large. Send less."
    assert body["error"]["code"] == "request_too_large"


def test_an_error_event_is_one_event_of_the_stream() -> None:
    assert error_event("openai", 502, "m").startswith(b'data: {"error":')
    assert error_event("anthropic", 502, "m").startswith(b"event: error\ndata: {")
    assert error_event("ollama", 502, "m") == b'{"error":"m"}\n'
    for api in ("openai", "anthropic"):
        assert error_event(api, 502, "a\nb").count(b"\n\n") == 1
