"""The rule that chooses between the chat and the code model, on labelled questions."""

from __future__ import annotations

from pathlib import Path

import pytest

from local_ai_suite.chat.choose import choose

HERE = Path(__file__).parent


def labelled(name: str) -> list[tuple[str, str]]:
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    pairs = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [(label, question) for label, question in pairs]


def wrong(questions: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(label, text) for label, text in questions if choose(text).kind != label]


def test_the_rule_fits_the_labelled_questions() -> None:
    questions = labelled("questions.tsv")
    assert len(questions) > 200
    missed = wrong(questions)
    assert len(missed) <= 0.02 * len(questions), missed


def test_on_questions_it_was_not_made_from_it_errs_towards_chat() -> None:
    questions = labelled("questions_held_out.tsv")
    missed = wrong(questions)
    print(f"held out: {len(questions) - len(missed)} of {len(questions)} right; missed: {missed}")
    assert [text for label, text in missed if label == "chat"] == []
    assert len(missed) <= 0.25 * len(questions), missed


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_hundred_fresh_questions_in_each_language(language: str) -> None:
    lines = (HERE / "questions_fresh.tsv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    questions = [(label, text) for label, spoken, text in rows if spoken == language]
    assert len(questions) == 100
    missed = wrong(questions)
    assert [text for label, text in missed if label == "chat"] == []
    assert len(missed) <= 5, missed


@pytest.mark.parametrize(
    "prose",
    [
        "capital", "therapist", "rapid", "escape from the cape", "capitalism in Chapito's days",
        "수도(capital)는 어디야?", "gif 문제", "서울(한국)에서 뭘 먹지?", "GDP(국내총생산)가 뭐야?",
        "Which book(s) should I read?", "What is there to see in Washington D.C.?",
        "Who was J.R.R. Tolkien?",
    ],
)  # fmt: skip
def test_a_sign_inside_a_word_of_prose_is_no_sign(prose: str) -> None:
    choice = choose(prose)
    assert choice.kind == "chat"
    assert not any("word of programming" in said for said in choice.because)


@pytest.mark.parametrize(
    "text", ["git에서 되돌리기", "main.py에서 왜 이래", "React로 만든 앱", "SQL을 짜줘"]
)
def test_a_korean_particle_ends_a_latin_word(text: str) -> None:
    assert choose(text).kind == "code"


@pytest.mark.parametrize("name", ["main.py", "src/App.TSX", "Makefile.mk", "a/b.sql"])
def test_a_source_file_that_comes_along_makes_it_a_code_question(name: str) -> None:
    choice = choose("what is this?", [name])
    assert choice.kind == "code"
    assert name in choice.reason


def test_a_text_file_that_comes_along_decides_nothing() -> None:
    assert choose("summarise this", ["letter.txt"]).kind == "chat"


def test_the_reason_names_the_words_that_decided() -> None:
    assert "refactor" in choose("please refactor it").reason
    assert "only" in choose("what is a dress made of string?").reason
    assert choose("hi").reason == "nothing in it looks like programming"


@pytest.mark.parametrize("text", ["", " ", "\n", "a" * 300_000, "(" * 50_000, "`" * 50_000, "\0"])
def test_odd_text_gets_an_answer(text: str) -> None:
    assert choose(text).kind in {"chat", "code"}
