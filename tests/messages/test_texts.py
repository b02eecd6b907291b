"""A text is English wherever it goes, and remembers how to be another language."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from typing import ClassVar

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_ai_suite.errors import UsageError
from local_ai_suite.messages import counted, joined, tr
from local_ai_suite.messages.particles import particle
from local_ai_suite.messages.width import ljust, rjust, width


class Korean:
    """A catalogue of a few words."""

    WORDS: ClassVar = {
        "port {port} is taken": "{port}번 포트는 이미 쓰입니다",
        "{name} is missing": "{name}{name:이/가} 없습니다",
        "the key": "키",
        "stop": "멈춤",
        "{count} file": "파일 {count}개",
        "it is text": "글이어야 합니다",
        "{name}: {exc}": "{name}: {exc}",
    }

    def gettext(self, message: str) -> str:
        return self.WORDS.get(message, message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.WORDS.get(msgid1, msgid1 if n == 1 else msgid2)


def test_a_text_is_its_english_sentence() -> None:
    text = tr("port {port} is taken", port=8000)
    assert text == "port 8000 is taken"
    assert f"{text}." == "port 8000 is taken."
    assert orjson.loads(orjson.dumps({"message": text})) == {"message": "port 8000 is taken"}
    assert json.dumps([text]) == '["port 8000 is taken"]'
    assert pickle.loads(pickle.dumps(text)) == "port 8000 is taken"
    assert text.said(Korean()) == "8000번 포트는 이미 쓰입니다"


def test_braces_are_characters_where_there_are_no_values() -> None:
    assert tr('a schema is {"type": ...}') == 'a schema is {"type": ...}'
    assert tr("100 %") == "100 %"


def test_a_value_that_is_a_text_is_translated_with_it() -> None:
    inner = tr("the key")
    assert tr("{name} is missing", name=inner) == "the key is missing"
    assert tr("{name} is missing", name=inner).said(Korean()) == "키가 없습니다"


def test_an_exception_reads_as_the_text_that_it_was_raised_with() -> None:
    told = tr("{name}: {exc}", name="path", exc=ValueError(tr("it is text")))
    assert told == "path: it is text"
    assert told.said(Korean()) == "path: 글이어야 합니다"


def test_texts_stay_texts_when_they_are_put_together() -> None:
    stop = tr("stop")
    assert (stop + "!").said(Korean()) == "멈춤!"
    assert ("> " + stop).said(Korean()) == "> 멈춤"
    assert joined(", ", ["a", stop, tr("the key")]) == "a, stop, the key"
    assert joined(", ", ["a", stop, tr("the key")]).said(Korean()) == "a, 멈춤, 키"


@pytest.mark.parametrize(("count", "english"), [(0, "0 files"), (1, "1 file"), (2, "2 files")])
def test_a_number_has_its_plural(count: int, english: str) -> None:
    text = counted("{count} file", "{count} files", count)
    assert text == english
    assert text.said(Korean()) == f"파일 {count}개"


def test_a_copy_of_what_holds_a_text_holds_the_text() -> None:
    @dataclasses.dataclass
    class Holder:
        text: str

    text = tr("the key")
    assert dataclasses.asdict(Holder(text))["text"] is text
    assert copy.deepcopy([text])[0] is text


def test_an_error_is_english_for_programs() -> None:
    error = UsageError(tr("{name} is missing", name="-x"), hint=tr("stop"))
    assert str(error) == "-x is missing"
    assert orjson.loads(orjson.dumps(error.as_dict())) == {
        "code": "usage",
        "message": "-x is missing",
        "hint": "stop",
    }


@pytest.mark.parametrize(
    ("word", "pair", "form"),
    [
        ("모델", "은/는", "은"),
        ("게이트웨이", "은/는", "는"),
        ("파일", "으로/로", "로"),  # ㄹ takes the short form
        ("폴더", "으로/로", "로"),
        ("키", "이/가", "가"),
        ("컨텍스트", "을/를", "를"),
        ("8000", "이/가", "이"),  # 영
        ("8001", "으로/로", "로"),  # 일
        ("15", "을/를", "를"),  # 오
        ("'local'", "을/를", "을"),  # quotes are not read
        ("model.gguf", "을/를", "를"),
        ("main", "이라/라", "이라"),
        ("local-chat", "은/는", "은(는)"),  # 챗? 채트?
        ("local-chat", "으로/로", "(으)로"),
        ("", "을/를", "을(를)"),
    ],
)
def test_a_particle_fits_the_word_before_it(word: str, pair: str, form: str) -> None:
    assert particle(word, pair) == form


@given(st.text(), st.sampled_from(["은/는", "이/가", "을/를", "과/와", "으로/로", "이라/라"]))
def test_every_word_has_a_particle(word: str, pair: str) -> None:
    assert particle(word, pair)


def test_a_korean_syllable_is_two_columns_wide() -> None:
    assert width("abc") == 3
    assert width("모델 a") == 6
    assert ljust("모델", 6) + "|" == "모델  |"
    assert rjust("모델", 6) == "  모델"
    assert ljust("longer", 3) == "longer"
