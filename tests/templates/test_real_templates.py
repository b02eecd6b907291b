"""The chat templates of real models in the real engine: what they take, and what we make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from families import SAMPLE
from histories import HISTORIES

import real_templates
from local_ai_suite.templates import translate

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from template_engine import TemplateEngine

    RealEngine = Callable[[str], AbstractContextManager[TemplateEngine]]

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
