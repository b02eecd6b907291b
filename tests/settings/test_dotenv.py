"""``.env`` means to us what it means to Docker Compose."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from dotenv_cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st

from local_ai_suite.errors import SettingsError
from local_ai_suite.settings.dotenv import Entry, parse

RECORDED = json.loads(Path(__file__).with_name("dotenv_recorded.json").read_text(encoding="utf-8"))


def ours(text: str, environ: dict[str, str]) -> dict[str, str]:
    """The project's environment as Compose merges it: the environment wins over the file."""
    return {key: entry.value for key, entry in parse(text, environ).items()} | environ


def test_the_recorded_table_has_every_case() -> None:
    recorded = [(row["name"], row["text"], row["environ"]) for row in RECORDED["cases"]]
    assert recorded == CASES, "run tools/record_compose_dotenv.py"


@pytest.mark.parametrize("row", RECORDED["cases"], ids=lambda row: row["name"])
def test_a_text_is_read_as_compose_reads_it(row: dict) -> None:
    if "error" in row:
        with pytest.raises(SettingsError, match=r"\.env line \d+: "):
            parse(row["text"], row["environ"])
    else:
        assert ours(row["text"], row["environ"]) == row["values"]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("A=1\n\nB='x\ny'\nC D=1\n", 5, "cannot contain a space"),
        ("# a\nA/B=1\n", 2, "'/'"),
        ("A=1\n\nB=${C:?tell me}\n", 3, "B: C must be set: tell me"),
        ("A=1\r\nB=${!}\r\n", 2, "not a valid $ form"),
        ('A=1\nB="never closed\n\n\n', 2, "the value of B has no closing"),
        ("A=" + "${A:-" * 3000 + "}" * 3000 + "\n", 1, "nested too deeply"),
    ],
)
def test_an_error_names_the_line(text: str, line: int, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text, {})
    assert caught.value.message.startswith(f".env line {line}: ")
    assert says in caught.value.message
    assert caught.value.hint


def test_an_error_does_not_show_the_value() -> None:
    with pytest.raises(SettingsError) as caught:
        parse('HF_TOKEN="hf_secret\n', {})
    assert "hf_secret" not in caught.value.message + caught.value.hint


def test_each_value_knows_its_line() -> None:
    text = "\ufeff# top\r\nA=1\r\n\r\nB='x\r\ny'\r\nexport C = 3 # c\r\nA=4\r\n"
    assert parse(text, {}) == {"A": Entry("4", 7), "B": Entry("x\r\ny", 4), "C": Entry("3", 6)}


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="AB=:'\"\\$#{}-+? \n\r0n", max_size=60))
def test_any_text_is_read_or_refused_with_a_line(text: str) -> None:
    refused = None
    try:
        parse(text, {"A": "x"})
    except SettingsError as exc:
        refused = exc.message
    assert refused is None or re.match(r"\.env line \d+: ", refused)
