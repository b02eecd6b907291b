"""The chat templates of real models in the real engine: what they take, and what we make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from histories import HISTORIES

import real_templates
from local_ai_suite.templates import translate

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from conftest import TemplateEngine

    RealEngine = Callable[[str], AbstractContextManager[TemplateEngine]]

# Ten families, and what their templates do not take: read in the templates' own text.
SAMPLE: dict[str, dict[str, Any]] = {
    "Qwen3.5-4B": {"late_system": False, "no_user": False, "repeated_turns": True},
    "mistralai-Mistral-Nemo-Instruct-2407": {
        "late_system": False, "repeated_turns": False, "assistant_first": False,
        "tool_ids": "nine", "user_after_result": False,
    },
    "mistralai-Ministral-3-14B-Reasoning-2512": {
        "late_system": False, "repeated_turns": False, "tool_ids": "any", "reasoning": True,
    },
    "google-gemma-2-2b-it": {"tools": False, "tool_history": False, "repeated_turns": False},
    "google-gemma-4-31B-it": {"tools": True, "late_system": True, "thinking_switch": True},
    "openai-gpt-oss-120b": {"parallel_calls": False, "reasoning_effort": True},
    "GLM-4.6": {"thinking_switch": True, "text_parts": False, "parallel_calls": True},
    "meta-llama-Llama-3.1-8B-Instruct": {"parallel_calls": False, "tool_ids": "any"},
    "deepseek-ai-DeepSeek-V3.1": {"late_system": False, "leading_systems": True},
    "Kimi-K2-Thinking": {"late_system": True, "tool_ids": "any", "reasoning": True},
}  # fmt: skip
# Its authors place the system message in the last user's turn, and only if that is the end.
LEFT_OUT_BY_THE_TEMPLATE = {
    ("mistralai-Mistral-Nemo-Instruct-2407", "system after a result", "wordSys")
}


@pytest.mark.parametrize("name", SAMPLE)
def test_the_probes_show_what_a_template_takes(name: str, real_engine: RealEngine) -> None:
    with real_engine(name) as engine:
        found = engine.abilities().as_dict()
    assert {key: found[key] for key in SAMPLE[name]} == SAMPLE[name]


@pytest.mark.parametrize("name", SAMPLE)
def test_every_history_is_taken_whole(name: str, real_engine: RealEngine) -> None:
    with real_engine(name) as engine:
        assert problems(name, engine) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_history_is_taken_whole_by_every_template(real_engine: RealEngine) -> None:
    found = []
    names = real_templates.names()
    assert len(names) > 70
    for name in names:
        with real_engine(name) as engine:
            found += problems(name, engine)
    assert found == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_template_answers(real_engine: RealEngine) -> None:
    """The scripted model speaks in each family's form, and the engine's parser reads it."""
    for name in real_templates.names():
        with real_engine(name) as engine:
            body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 40}
            answer = engine.client.post("/v1/chat/completions", json=body)
            assert answer.status_code == 200, (name, answer.text)
            message = answer.json()["choices"][0]["message"]
            said = message["content"] + message.get("reasoning_content", "")
            assert real_templates.ANSWER in said, name


def problems(name: str, engine: TemplateEngine) -> list[tuple[str, str, str]]:
    """Each history that is refused, or of which a word is missing: (template, history, what)."""
    abilities = engine.abilities()
    found = []
    for history in HISTORIES:
        if history.name.startswith("tool: ") or history.refused or not history.messages:
            continue  # schemas and media are not the template's to take
        made = translate(history.messages, abilities)
        status, text = engine.render({"messages": made.messages, **history.more})
        if status != 200:
            found.append((name, history.name, text))
            continue
        missing = [word for word in history.words if word not in text]
        found += [
            (name, history.name, word)
            for word in missing
            if (name, history.name, word) not in LEFT_OUT_BY_THE_TEMPLATE
        ]
    return found
