"""The trained demo model through the relay: a real distribution meets every mend."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import orjson
import pytest
import targets
from checks import FILES, WEATHER, user
from checks_responses import stream as response_events

from local_ai_suite.demo import demo_model_path

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[targets.Target]:
    folder = tmp_path_factory.mktemp("demo")
    project = targets.make_project(folder / "pool")
    model = demo_model_path()
    assert model is not None, "the demo model is part of the package"
    shutil.copy(model, project / "models" / "Scripted-Chat.gguf")
    with (
        targets.pool(folder / "pool", CTX_SIZE="1024", PARALLEL="1") as pool,
        targets.gateway("relay", folder / "relay", pool) as relay,
    ):
        yield relay


def test_it_answers_on_every_api(demo: targets.Target) -> None:
    chat = demo.openai.chat.completions.create(
        model="local-chat", messages=user("Hello!"), max_tokens=24, temperature=0
    )
    assert chat.choices[0].message.content
    said = response_events(demo, input="Hello!", temperature=0)
    text = "".join(e["delta"] for e in said if e["type"] == "response.output_text.delta")
    assert text
    message = demo.anthropic.messages.create(
        model="local-chat", max_tokens=24, messages=user("Hello!")
    )
    assert message.content[0].type == "text"


@pytest.mark.parametrize("stream", [False, True])
def test_a_named_tool_is_called_with_arguments_that_fit(
    demo: targets.Target, *, stream: bool
) -> None:
    answer = demo.http.post(
        "/v1/chat/completions",
        json={
            "model": "local-chat",
            "messages": user("What is the weather in Seoul?"),
            "tools": [WEATHER, FILES],
            "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
            "max_tokens": 200,
            "temperature": 0,
            "stream": stream,
        },
    )
    assert answer.status_code == 200, answer.text
    assert arguments(answer.text, stream=stream).keys() == {"city"}


def arguments(text: str, *, stream: bool) -> dict[str, object]:
    if not stream:
        call = orjson.loads(text)["choices"][0]["message"]["tool_calls"][0]
        return dict(orjson.loads(call["function"]["arguments"]))
    lines = [orjson.loads(x[6:]) for x in text.split("\n") if x.startswith("data: {")]
    deltas = [choice["delta"] for line in lines for choice in line["choices"]]
    calls = [call for delta in deltas for call in delta.get("tool_calls") or ()]
    return dict(orjson.loads("".join(call["function"]["arguments"] for call in calls)))
