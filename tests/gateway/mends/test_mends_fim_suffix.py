"""``suffix`` on /v1/completions: lost by llama.cpp, fill in the middle through the gateway."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import orjson
import pytest

from local_ai_suite.gateway import mends

PLAIN, FILLED = " and so the text goes on.", "return a + b"
SAME = mends.Target("local-chat", "local-chat")


def test_flaw_the_engine_ignores_the_suffix(bare: openai.OpenAI) -> None:
    said = bare.completions.create(model="local-chat", prompt="def", suffix="end", max_tokens=20)
    assert said.choices[0].text == PLAIN


def test_a_suffix_is_filled_in_before(mended: openai.OpenAI) -> None:
    said = mended.completions.create(
        model="gpt-4o", prompt="def add(a, b):\n", suffix="\n", max_tokens=20
    )
    assert said.choices[0].text == FILLED
    assert said.choices[0].finish_reason == "stop"
    assert said.model == "gpt-4o"
    assert said.usage
    assert said.usage.completion_tokens > 0


def test_a_fill_in_streams(mended: openai.OpenAI) -> None:
    chunks = list(
        mended.completions.create(
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


def test_a_stream_that_breaks_off_ends_with_an_error(mended_http: httpx.Client) -> None:
    plan = mends.plan("/v1/completions", b'{"prompt":"a","suffix":"b","stream":true}', SAME)
    assert isinstance(plan, mends.Mend)
    stream = plan.stream()
    stream.feed(b'data: {"content":"x","stop":false}\n\n')
    assert b'"error"' in stream.finish()


def test_log_probabilities_and_echo_are_kept(mended_http: httpx.Client) -> None:
    request = {"model": "gpt-4o", "prompt": "def", "suffix": "x", "logprobs": 1, "echo": True}
    choice = mended_http.post("/v1/completions", json=request).json()["choices"][0]
    assert choice["text"] == "def" + FILLED
    assert choice["logprobs"]["content"]


@pytest.mark.parametrize("suffix", ["", None])
def test_an_empty_suffix_is_the_engines_own(suffix: object) -> None:
    body = orjson.dumps({"prompt": "a", "suffix": suffix})
    assert mends.plan("/v1/completions", body, SAME) is None


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
    plan = mends.plan("/v1/completions", body, SAME)
    assert isinstance(plan, mends.Reply)
    assert plan.status == 400
    assert orjson.loads(plan.body)["error"]["param"] == param
