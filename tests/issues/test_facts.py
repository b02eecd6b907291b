"""What a model wrote is held against what is known."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_ai_suite.issues.estimate import estimate, working_day
from local_ai_suite.issues.grounding import Grounding, grounding_of
from local_ai_suite.issues.render import escape
from local_ai_suite.issues.survey import Survey

SURVEY = Survey(
    root=Path("/nowhere"), files=("src/suite/server.py", "docker/compose.p1.yml", "README.md")
)
ISSUE = "Answer within 3초, P95 below 250 ms, on port 8001. See #12 and version v1.2."


@pytest.fixture
def facts() -> Grounding:
    return grounding_of(SURVEY, ISSUE)


@pytest.mark.parametrize(
    "text",
    [
        "Change src/suite/server.py so that it answers.",
        "Change server.py.",
        "Look into docker/ first.",
        "Stay below 250 ms and 3초 on port 8001 (P95).",
        "See #12 and v1.2.",
        "모델을 더 빨리 불러온다.",
        "Read e.g. the notes.",
    ],
)
def test_what_is_known_stays(facts: Grounding, text: str) -> None:
    assert facts.check("x", text) == text
    assert facts.dropped == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Change src/engine/pool.py.", "file that is not there"),
        ("Change pool.py.", "file that is not there"),
        ("Stay below 500 ms.", "number"),
        ("Be done on 2031-01-01.", "number"),
        ("Use Python3.99 here.", "number"),
        ("Fix #99 as well.", "issue"),
        ("Ask @torvalds about it.", "person"),
        ("See https://evil.example/x.", "address"),
        ("Go to www.evil.example now.", "address"),
        ("<img src=x onerror=alert>", "markup"),
        ("Fine <!-- hidden", "markup"),
    ],
)
def test_what_is_not_known_is_left_out_and_recorded(
    facts: Grounding, text: str, reason: str
) -> None:
    assert facts.check("where", f"This stays. {text}") == "This stays."
    assert [entry["where"] for entry in facts.dropped] == ["where"]
    assert reason in facts.dropped[0]["reason"]


def test_words_with_a_slash_are_no_folder(facts: Grounding) -> None:
    assert facts.check("x", "Handle read/write and src/suite.") == (
        "Handle read / write and src/suite."
    )


def test_characters_that_cannot_be_seen_are_taken_out(facts: Grounding) -> None:
    assert facts.check("x", "Do\u202e this\u200b now\x1b[2J.") == "Do this now" or (
        "\x1b" not in facts.check("x", "now\x1b[2J")
    )


@given(st.text(max_size=300))
def test_nothing_that_is_left_names_a_number_or_a_file_that_is_not_known(text: str) -> None:
    facts = grounding_of(SURVEY, ISSUE)
    left = facts.check("x", text)
    again = grounding_of(SURVEY, ISSUE)
    assert again.check("x", left) == left
    assert again.dropped == []


@pytest.mark.parametrize(
    ("text", "inert"),
    [
        ("# heading", r"\# heading"),
        ("[x](javascript:1)", r"\[x\](javascript:1)"),
        ("a | b", r"a \| b"),
        ("ping @all", "ping @&#8203;all"),
        ("see #12", r"see \#&#8203;12"),
        ("GH-12", "GH-&#8203;12"),
        ("https://x.example", "https&#8203;://x.example"),
        ("<script>", r"\<script\>"),
        ("&#64;all", r"&amp;\#&#8203;64;all"),
        ("- [ ] tick", r"\- \[ \] tick"),
        ("1. item", r"1\. item"),
        ("two\nlines", "two lines"),
        ("![i](u)", r"\!\[i\](u)"),
    ],
)
def test_foreign_text_is_inert_in_markdown(text: str, inert: str) -> None:
    assert escape(text) == inert


def test_hours_and_dates_are_sums_of_sizes_over_working_days() -> None:
    phases = [
        {"tasks": [{"size": "S"}, {"size": "M"}]},
        {"tasks": [{"size": "L"}]},
    ]
    spent = estimate(phases, "high", date(2026, 11, 27))  # a Friday
    assert [phase.hours for phase in spent.phases] == [8, 16]
    assert (spent.work, spent.buffer, spent.total) == (24, 10, 34)
    assert spent.phases[0].start == date(2026, 11, 27)
    assert spent.phases[0].end == date(2026, 11, 30)
    assert spent.phases[1].end == date(2026, 12, 2)
    assert spent.end == date(2026, 12, 4)


def test_a_working_day_is_never_at_a_weekend() -> None:
    assert working_day(date(2026, 11, 28), 0) == date(2026, 11, 30)
