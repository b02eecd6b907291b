"""POST /v1/completions, /infill and the tokenizer's routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checks import COMPLETIONS, FILLED, GOES_ON, check, events, post, same, true, user, valid
from openai.types import Completion

if TYPE_CHECKING:
    from targets import Target


@check
def whole(t: Target) -> None:
    said = valid(Completion, post(t, COMPLETIONS, prompt="Once", max_tokens=20))
    same(said.choices[0].text, GOES_ON, "another text")
    true(said.usage and said.usage.total_tokens > 0, "no usage")


@check
def streamed(t: Target) -> None:
    said = events(t, COMPLETIONS, prompt="Once", max_tokens=20)
    for chunk in said:
        for choice in chunk["choices"]:
            true("text" in choice, "a chunk has no text")
            # OpenAI's own stream says null here until the end; the SDK's type does not know it.
            choice["finish_reason"] = choice.get("finish_reason") or "stop"
    texts = [valid(Completion, chunk).choices[0].text for chunk in said if chunk["choices"]]
    same("".join(texts), GOES_ON, "another text")


@check
def stop_text(t: Target) -> None:
    said = post(t, COMPLETIONS, prompt="Once", max_tokens=20, stop=["text"])
    same(said["choices"][0]["text"], " and so the ", "not cut")


@check
def two_prompts(t: Target) -> None:
    said = post(t, COMPLETIONS, prompt=["Once", "Twice"], max_tokens=20)
    same([c["text"] for c in said["choices"]], [GOES_ON] * 2, "not 2 texts")


@check
def tokens_as_prompt(t: Target) -> None:
    said = post(t, COMPLETIONS, prompt=[79, 110], max_tokens=20)
    same(said["choices"][0]["text"], GOES_ON, "another text")


@check
def log_probabilities(t: Target) -> None:
    said = post(t, COMPLETIONS, prompt="Once", max_tokens=3, logprobs=2)
    true(said["choices"][0].get("logprobs"), "no logprobs")


@check
def suffix_is_filled_in_before(t: Target) -> None:
    said = post(t, COMPLETIONS, prompt="def add(a, b):\n", suffix="\n", max_tokens=20)
    same(said["choices"][0]["text"], FILLED, "the suffix is ignored")


@check
def suffix_is_filled_in_before_streamed(t: Target) -> None:
    said = events(t, COMPLETIONS, prompt="def", suffix="\n", max_tokens=20)
    text = "".join(chunk["choices"][0].get("text", "") for chunk in said if chunk["choices"])
    same(text, FILLED, "the suffix is ignored")


@check
def infill(t: Target) -> None:
    said = post(t, "/infill", input_prefix="def", input_suffix="\n", n_predict=20)
    same(said.get("content"), FILLED, "another text")


@check
def infill_streamed(t: Target) -> None:
    said = events(t, "/infill", input_prefix="def", input_suffix="\n", n_predict=20)
    same("".join(chunk["content"] for chunk in said), FILLED, "another text")


@check
def tokens_of_a_text_and_back(t: Target) -> None:
    tokens = post(t, "/tokenize", content="Hello, 안녕")["tokens"]
    same(post(t, "/detokenize", tokens=tokens)["content"], "Hello, 안녕", "another text")


@check
def chat_template(t: Target) -> None:
    prompt = post(t, "/apply-template", messages=user("hi"))["prompt"]
    true("<|im_start|>user" in prompt, "another prompt")
