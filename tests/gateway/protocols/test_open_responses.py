"""What the Open Responses specification wants of a response, on the real engine.

``NEEDED`` is its ``ResponseResource`` (schema/responses.tsp at openresponses/openresponses): each
field that must be there, with the types it may have. The questions are those of its compliance
suite (src/lib/compliance-tests.ts), except the picture, for which a model must see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

if TYPE_CHECKING:
    import httpx

NUMBER = (int, float)
NEEDED: dict[str, tuple[type, ...]] = {
    "id": (str,), "object": (str,), "created_at": (int,), "completed_at": (int, type(None)),
    "status": (str,), "incomplete_details": (dict, type(None)), "model": (str,),
    "previous_response_id": (str, type(None)), "instructions": (str, type(None)),
    "output": (list,), "error": (dict, type(None)), "tools": (list,), "tool_choice": (str, dict),
    "truncation": (str,), "parallel_tool_calls": (bool,), "text": (dict,), "top_p": NUMBER,
    "presence_penalty": NUMBER, "frequency_penalty": NUMBER, "top_logprobs": (int,),
    "temperature": NUMBER, "reasoning": (dict, type(None)), "user": (str, type(None)),
    "usage": (dict, type(None)), "max_output_tokens": (int, type(None)),
    "max_tool_calls": (int, type(None)), "store": (bool,), "background": (bool,),
    "service_tier": (str,), "metadata": (dict,), "safety_identifier": (str, type(None)),
    "prompt_cache_key": (str, type(None)),
}  # fmt: skip
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
QUESTIONS: dict[str, dict[str, Any]] = {
    "a message": {"input": [{"type": "message", "role": "user", "content": "hi"}]},
    "a system prompt": {
        "input": [
            {"type": "message", "role": "system", "content": "You are a pirate."},
            {"type": "message", "role": "user", "content": "hi"},
        ]
    },
    "a tool": {"input": "weather", "tools": [WEATHER]},
    "several turns": {
        "input": [
            {"type": "message", "role": "user", "content": "My name is Alice."},
            {"type": "message", "role": "assistant", "content": "Hello Alice!"},
            {"type": "message", "role": "user", "content": "hi"},
        ]
    },
}


def faults(response: dict[str, Any]) -> list[str]:
    """What the specification misses in a response, by name."""
    absent = [name for name in NEEDED if name not in response]
    wrong = [
        f"{name}: {response[name]!r}"
        for name, types in NEEDED.items()
        if name in response and not isinstance(response[name], types)
    ]
    for tool in response.get("tools", ()):
        absent += [f"tools.{n}" for n in ("description", "parameters", "strict") if n not in tool]
    if (reasoning := response.get("reasoning")) is not None:
        absent += [f"reasoning.{name}" for name in ("effort", "summary") if name not in reasoning]
    shape = response["text"]["format"]
    if shape["type"] == "json_schema":
        absent += [f"text.format.{n}" for n in ("description", "name", "strict") if n not in shape]
    return absent + wrong


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS.keys())
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_every_response_has_every_field_that_is_needed(
    translated_http: httpx.Client, question: dict[str, Any], *, stream: bool
) -> None:
    answer = translated_http.post(
        "/v1/responses", json={"model": "gpt-4o", "stream": stream, **question}
    )
    assert answer.status_code == 200, answer.text
    if stream:
        lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
        told = [event["response"] for event in map(orjson.loads, lines) if "response" in event]
    else:
        told = [answer.json()]
    assert [faults(response) for response in told] == [[]] * len(told)
    assert told[-1]["status"] == "completed"
    kinds = {item["type"] for item in told[-1]["output"]}
    assert kinds == {"function_call" if "tools" in question else "message"}


def test_what_the_request_set_is_what_the_response_tells(translated_http: httpx.Client) -> None:
    said = {
        "temperature": 0, "top_p": 0.5, "presence_penalty": 0.25, "frequency_penalty": -0.5,
        "top_logprobs": 2, "metadata": {"a": "b"}, "max_output_tokens": 64,
    }  # fmt: skip
    answer = translated_http.post(
        "/v1/responses",
        json={
            "model": "gpt-4o",
            "input": "as JSON",
            "reasoning": {"effort": "low"},
            "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
            **said,
        },
    ).json()
    assert {name: answer[name] for name in said} == said
    assert answer["reasoning"] == {"effort": "low", "summary": None}
    shape = answer["text"]["format"]
    assert (shape["name"], shape["description"], shape["strict"]) == ("n", None, False)
    assert faults(answer) == []


def test_nulls_are_silence(translated_http: httpx.Client) -> None:
    nulls = dict.fromkeys(("temperature", "top_p", "tools", "metadata", "reasoning", "text"))
    answer = translated_http.post("/v1/responses", json={"model": "gpt-4o", "input": "hi", **nulls})
    assert faults(answer.json()) == []
