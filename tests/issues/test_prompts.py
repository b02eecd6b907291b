"""A prompt holds as much as fits, and never more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from local_ai_suite.issues.issue import Issue
from local_ai_suite.issues.planner import ANSWER_TOKENS
from local_ai_suite.issues.prompts import build
from local_ai_suite.issues.schema_check import violation
from local_ai_suite.issues.sections import SECTIONS, several, text
from local_ai_suite.issues.survey import Hit, Survey

SURVEY = Survey(
    root=Path("/nowhere"),
    files=tuple(f"src/part{number}/module{number}.py" for number in range(200)),
    named=("src/part1/module1.py",),
    hits=tuple(Hit("src/part1/module1.py", number, "model " * 20) for number in range(40)),
    candidates=("src/part1/module1.py", "src/part2/module2.py"),
)


def tokens(messages: list[dict[str, Any]]) -> int:
    """Uneven on purpose: Korean costs more than English, as in real vocabularies."""
    joined = "\n".join(message["content"] for message in messages)
    return sum(1 if ord(character) > 0x7F else 0 for character in joined) + len(joined) // 4


@given(
    st.text(st.sampled_from("ab \n가나=<>"), max_size=6_000),
    st.integers(300, 4_000),
    st.sampled_from(SECTIONS),
    st.sampled_from(["ko", "en"]),
)
@settings(max_examples=60, deadline=None)
def test_a_prompt_never_exceeds_its_room_and_its_fences_hold(
    body: str, room: int, section: Any, language: str
) -> None:
    prompt = build(section, Issue("title", body), SURVEY, "so far", language, room, tokens)
    if prompt is None:
        empty = build(section, Issue("t", ""), SURVEY, "", language, room * 3 // 2 + 500, tokens)
        assert empty is not None
        return
    assert prompt.tokens == tokens(prompt.messages) <= room
    said = prompt.messages[1]["content"]
    assert said.count("\n=====\n") % 2 == 0 or said.endswith("=====")
    assert prompt.issue_characters <= len(body) + 10


def test_the_prompt_shows_the_form_of_the_answer_with_the_files_that_may_be_named() -> None:
    prompt = build(SECTIONS[1], Issue("t", "x"), SURVEY, "", "en", 100_000, tokens)
    assert prompt is not None
    said = prompt.messages[1]["content"]
    path = "src/part1/module1.py|src/part2/module2.py"
    assert f'JSON: {{"areas": [{{"path": {path}, "why": text}}, at most 4]' in said


def test_with_room_for_all_nothing_is_cut() -> None:
    issue = Issue("title", "one\ntwo\n" * 50)
    prompt = build(SECTIONS[1], issue, SURVEY, "", "en", 100_000, tokens)
    assert prompt is not None
    assert prompt.issue_characters == len(issue.text)
    assert SURVEY.tree() in prompt.messages[1]["content"]


def test_the_longest_answer_that_a_schema_allows_ends_within_the_answers_tokens() -> None:
    """At one token a character, the worst for a vocabulary that knows the language at all."""

    def longest(schema: dict[str, Any]) -> int:
        match schema["type"]:
            case "object":
                inner = sum(
                    len(name) + 6 + longest(one) for name, one in schema["properties"].items()
                )
                return inner + 2
            case "array":
                return int(schema["maxItems"]) * (longest(schema["items"]) + 2) + 2
            case _ if "enum" in schema:
                return max(map(len, schema["enum"])) + 2
            case _:
                return int(schema.get("maxLength", 30)) + 2

    issue = Issue("t", "answers within 3 s\n" * 20)
    for section in SECTIONS:
        assert longest(section.schema(issue, SURVEY)) <= ANSWER_TOKENS, section.key


def test_a_value_that_does_not_fit_its_schema_is_found() -> None:
    schema = several(text(3), 1, 2)
    assert violation(["abc"], schema) == ""
    for wrong in ([], ["abcd"], ["a"] * 3, [1], "abc", {}, None, [""]):
        assert violation(wrong, schema)
