"""What the demo model is asked in its evaluation does not stand in what it was trained on.

A slot's value (a name, a number) may: what must be new is the wording around it.
"""

from __future__ import annotations

import importlib
import itertools
import random
import re
import string
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS = Path(__file__).parents[2] / "demo-model"
SAMPLED = 6_000  # documents, of the 300,000 and more of a training


@pytest.fixture(scope="module")
def made() -> Iterator[SimpleNamespace]:
    """The modules that write the training text, and the questions of the evaluation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        names = ("small_talk", "facts", "phrasing", "tool_calls", "structured", "mixture", "code")
        modules = {name: importlib.import_module(f"corpus.{name}") for name in names}
        yield SimpleNamespace(held_out=importlib.import_module("held_out"), **modules)


def _plain(text: str) -> str:
    """Case, marks and spaces apart: training text varies them."""
    return re.sub(rf"[\s{re.escape(string.punctuation)}]+", " ", text.lower()).strip()


def _questions_in_training(made: SimpleNamespace) -> Iterator[str]:
    """Every question without slots that training can ask, before typing errors and greetings."""
    phrasing = made.phrasing
    for fact in made.facts.FACTS:
        yield from fact.split(fact.en) + fact.split(fact.ko)
        for phrases, frames, slot, ends in (
            (fact.en_np, phrasing.EN_NP, "{np}", ("",)),
            (fact.en_vp, phrasing.EN_VP, "{vp}", ("",)),
            (fact.ko_np, phrasing.KO_NP, "{np}", ("", *"은는이가을를")),
            (fact.ko_vp, phrasing.KO_VP, "{vp}", ("",)),
        ):
            for phrase, frame, end in itertools.product(fact.split(phrases), frames, ends):
                yield frame.replace(slot, phrase + end)
    for asks, _ in (*made.small_talk._EN, *made.small_talk._KO):
        yield from asks.split("|")
    talk = made.small_talk
    yield from talk._UNKNOWN_EN + talk._UNKNOWN_KO + talk._MORE_EN + talk._MORE_KO


def test_no_question_of_the_evaluation_is_a_question_of_the_training(made: SimpleNamespace) -> None:
    trained = {_plain(question) for question in _questions_in_training(made)}
    held = made.held_out
    asked = [text for text, _ in (*held.FACTS_EN, *held.FACTS_KO)]
    asked += [*held.TALK_KO, *held.REFUSALS]
    assert [text for text in asked if _plain(text) in trained] == []


def _pattern(template: str) -> re.Pattern[str]:
    """What a template with slots matches, whatever stands in the slots."""
    parts = re.split(r"\{\w+\}", template)
    return re.compile(".+".join(re.escape(part.lower().rstrip(".?!")) for part in parts) + r"\W*")


def test_no_request_for_a_tool_or_json_has_the_words_of_a_training_request(
    made: SimpleNamespace,
) -> None:
    rng, held = random.Random(11), made.held_out
    trained = [
        made.tool_calls.make_request(rng, korean=rng.random() < 0.3).text for _ in range(SAMPLED)
    ]
    templates = [template for _, template in held.TOOL_REQUESTS]
    assert _matched(templates, trained) == []
    trained = [made.structured.json_pair(rng, rng.random() < 0.3)[0] for _ in range(SAMPLED)]
    assert _matched([template for template, _ in held.JSON], trained) == []


def _matched(templates: list[str], trained: list[str]) -> list[tuple[str, str]]:
    patterns = {template: _pattern(template) for template in templates}
    return [
        (template, text)
        for template, pattern in patterns.items()
        for text in trained
        if pattern.fullmatch(text.lower())
    ]


def test_no_hole_of_the_evaluation_is_a_hole_of_the_training(made: SimpleNamespace) -> None:
    rng, code = random.Random(12), made.code
    trained = {code.fim_text(rng)[0][0] for _ in range(SAMPLED)}
    asked = {
        f"{code.FIM_PREFIX}{prefix}{code.FIM_SUFFIX}{suffix}{code.FIM_MIDDLE}"
        for prefix, suffix, _ in made.held_out.FIM
    }
    assert asked & trained == set()


def test_the_pairs_of_numbers_kept_for_the_evaluation_are_never_trained(
    made: SimpleNamespace,
) -> None:
    rng = random.Random(13)
    for _ in range(SAMPLED):
        expression, result = made.structured._sum(rng)
        a, operator, b = expression.split()
        by_operator = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}
        assert result == by_operator[operator]
        assert operator == "*" or not made.structured.held_out_sum(int(a), int(b)), expression


def test_a_seed_alone_decides_the_documents(made: SimpleNamespace) -> None:
    first, again, other = (
        [d.segments() for d in itertools.islice(made.mixture.documents(seed), 50)]
        for seed in (5, 5, 6)
    )
    assert first == again != other
