"""``suffix`` on /v1/completions: lost by llama.cpp, fill in the middle through the gateway."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import orjson
import pytest
from translating_transport import asked, is_untouched

from local_ai_suite.gateway.protocols.errors import Refused

PLAIN, FILLED = " and so the text goes on.", "return a + b"


def test_flaw_the_engine_ignores_the_suffix(bare: openai.OpenAI) -> None:
    said = bare.completions.create(model="local-chat", prompt="def", suffix="end", max_tokens=20)
    assert said.choices[0].text == PLAIN


def test_a_suffix_is_filled_in_before(translated: openai.OpenAI) -> None:
    said = translated.completions.create(
        model="gpt-4o", prompt="def add(a, b):\n", suffix="\n", max_tokens=20
    )
    assert said.choices[0].text == FILLED
    assert said.choices[0].finish_reason == "stop"
    assert said.model == "gpt-4o"
    assert said.usage
    assert said.usage.completion_tokens > 0


def test_a_fill_in_streams(translated: openai.OpenAI) -> None:
    chunks = list(
        translated.completions.create(
            model="gpt-4o",
            prompt=["def"],
            suffix="\n",
            max_tokens=2,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert FILLED.startswith("".join(c.choices[0].text for c in chunks if c.choices))
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 2


def test_a_stream_that_breaks_off_ends_with_an_error(translated_http: httpx.Client) -> None:
    stream = asked("/v1/completions", b'{"prompt":"a","suffix":"b","stream":true}').stream()
    assert stream is not None
    stream.feed(b'data: {"content":"x","stop":false}\n\n')
    assert b'"error"' in stream.finish()


def test_log_probabilities_and_echo_are_kept(translated_http: httpx.Client) -> None:
    request = {"model": "gpt-4o", "prompt": "def", "suffix": "x", "logprobs": 1, "echo": True}
    choice = translated_http.post("/v1/completions", json=request).json()["choices"][0]
    assert choice["text"] == "def" + FILLED
    assert choice["logprobs"]["content"]


@pytest.mark.parametrize("suffix", ["", None])
def test_an_empty_suffix_is_the_engines_own(suffix: object) -> None:
    body = orjson.dumps({"prompt": "a", "suffix": suffix})
    assert is_untouched(asked("/v1/completions", body), body)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": 2}, "n"),
        ({"best_of": 3}, "best_of"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
    ],
)
def test_what_fill_in_cannot_do_is_refused(more: dict[str, Any], param: str) -> None:
    body = orjson.dumps({"prompt": "a", "suffix": "b", **more})
    with pytest.raises(Refused) as refused:
        asked("/v1/completions", body)
    assert refused.value.error["param"] == param
