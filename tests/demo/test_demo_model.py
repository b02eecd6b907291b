"""The trained model that ships with the suite, through the real engine."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import openai
import pytest

from local_ai_suite.demo import demo_model_path
from local_ai_suite.gguf import read_gguf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    import httpx

LARGEST_BYTES = 12 * 2**20
LIST_FILES: Any = {
    "type": "function",
    "function": {
        "name": "list_files",
        "description": "List the files in a folder",
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string"}},
            "required": ["path"],
        },
    },
}


@pytest.fixture(scope="module")
def path() -> Path:
    found = demo_model_path()
    assert found is not None, "the demo model is part of the repository"
    return found


@pytest.fixture(scope="module")
def engine(
    path: Path, serve: Callable[..., AbstractContextManager[httpx.Client]]
) -> Iterator[httpx.Client]:
    with serve(path) as client:
        yield client


@pytest.fixture(scope="module")
def sdk(engine: httpx.Client) -> Iterator[openai.OpenAI]:
    base_url = f"{str(engine.base_url).rstrip('/')}/v1"
    with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=30) as client:
        yield client


def _ask(sdk: openai.OpenAI, text: str, **more: Any) -> str:
    reply = sdk.chat.completions.create(
        model="local-chat",
        messages=[{"role": "user", "content": text}],
        temperature=0,
        max_tokens=120,
        **more,
    )
    assert reply.choices[0].finish_reason == "stop"
    return reply.choices[0].message.content or ""


def test_the_file_is_the_one_that_its_digest_names(path: Path) -> None:
    digest, name = path.with_name("demo.gguf.sha256").read_text(encoding="ascii").split()
    assert name == path.name
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert path.stat().st_size <= LARGEST_BYTES


def test_its_header_says_what_the_suite_needs(path: Path) -> None:
    metadata = read_gguf(path).metadata
    assert metadata["general.architecture"] == "llama"
    assert metadata["llama.context_length"] >= 4096
    assert metadata["general.license"] == "apache-2.0"
    assert "<tool_call>" in metadata["tokenizer.chat_template"]


def test_knows_the_port_of_the_gateway(sdk: openai.OpenAI) -> None:
    assert "8000" in _ask(sdk, "What port does the gateway use?")


def test_answers_korean_in_korean(sdk: openai.OpenAI) -> None:
    assert re.search("[가-힣]{2}", _ask(sdk, "안녕하세요"))


def test_the_same_question_has_the_same_answer(sdk: openai.OpenAI) -> None:
    question = "How do I start the suite?"
    assert _ask(sdk, question, seed=7) == _ask(sdk, question, seed=7)


def test_a_whole_tool_loop(sdk: openai.OpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "List the files in the current folder."}]
    asked: dict[str, Any] = {"model": "local-chat", "tools": [LIST_FILES], "temperature": 0}
    reply = sdk.chat.completions.create(messages=messages, max_tokens=120, **asked)
    assert reply.choices[0].finish_reason == "tool_calls"
    (call,) = reply.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "list_files"
    assert json.loads(call.function.arguments) == {"path": "."}
    messages += [
        reply.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "guide.md\nnotes.txt"},
    ]
    reply = sdk.chat.completions.create(messages=messages, max_tokens=120, **asked)
    assert reply.choices[0].finish_reason == "stop"
    told = reply.choices[0].message.content or ""
    assert "guide.md" in told
    assert "notes.txt" in told


def test_a_call_takes_its_argument_from_the_request(sdk: openai.OpenAI) -> None:
    reply = sdk.chat.completions.create(
        model="local-chat",
        messages=[{"role": "user", "content": "What files are in docs/guides?"}],
        tools=[LIST_FILES],
        temperature=0,
        max_tokens=120,
    )
    (call,) = reply.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == (
        "list_files",
        {"path": "docs/guides"},
    )


def test_both_ways_to_fill_in_the_middle_give_the_same(
    engine: httpx.Client, sdk: openai.OpenAI
) -> None:
    prefix, suffix = "def add(a, b):\n    return ", "\n"
    body = {"input_prefix": prefix, "input_suffix": suffix, "n_predict": 40, "temperature": 0}
    infilled = engine.post("/infill", json=body).json()
    assert infilled["stop_type"] == "eos"
    assert infilled["content"] == "a + b"
    prompt = f"<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>"
    reply = sdk.completions.create(model="local-code", prompt=prompt, max_tokens=40, temperature=0)
    assert reply.choices[0].text == infilled["content"]


def test_json_holds_the_values_of_the_text(sdk: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    }
    question = "Extract the name and the age as JSON: Anna is 31 years old."
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    answer = json.loads(_ask(sdk, question, response_format=form))
    assert answer == {"name": "Anna", "age": 31}
