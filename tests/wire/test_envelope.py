"""Error bodies in the shape of the API that was called."""

from __future__ import annotations

import orjson
import pytest

from local_ai_suite.wire.asgi import BodyTooLarge
from local_ai_suite.wire.envelope import (
    ANTHROPIC,
    OLLAMA,
    OPENAI,
    Envelope,
    envelope_of,
    error_for,
    suite_error,
)


@pytest.mark.parametrize(
    ("path", "envelope"),
    [
        ("/v1/messages", ANTHROPIC),
        ("/v1/messages/count_tokens", ANTHROPIC),
        ("/api/chat", OLLAMA),
        ("/v1/chat/completions", OPENAI),
        ("/nothing", OPENAI),
    ],
)
def test_the_path_tells_the_api(path: str, envelope: Envelope) -> None:
    assert envelope_of(path) is envelope


def test_each_api_gets_its_own_shape() -> None:
    unknown = error_for(404, "m", code="model_not_found", param="model")
    assert orjson.loads(OPENAI.body(404, unknown)) == {
        "error": {
            "message": "m",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }
    assert orjson.loads(ANTHROPIC.body(401, error_for(401, "m"))) == {
        "type": "error",
        "error": {"type": "authentication_error", "message": "m"},
    }
    assert orjson.loads(OLLAMA.body(500, error_for(500, "m"))) == {"error": "m"}


def test_a_suite_error_becomes_an_error_with_its_hint() -> None:
    error = suite_error(BodyTooLarge("Too large.", hint="Send less."))
    assert error["message"] == "Too large. Send less."
    assert error["code"] == "request_too_large"


def test_an_error_event_is_one_event_of_the_stream() -> None:
    error = error_for(502, "a\nb")
    assert OPENAI.event(error).startswith(b'data: {"error":')
    assert ANTHROPIC.event(error).startswith(b"event: error\ndata: {")
    assert OLLAMA.event(error) == b'{"error":"a\\nb"}\n'
    for envelope in (OPENAI, ANTHROPIC):
        assert envelope.event(error).count(b"\n\n") == 1
