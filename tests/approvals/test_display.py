"""Nothing in a shown request can move, hide or reorder what a person reads."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_ai_suite.approvals.display import (
    MOST_CHARACTERS,
    bounded,
    escape,
    mixed_scripts,
    quoted,
    width,
    wrap,
)
from local_ai_suite.approvals.show import display
from local_ai_suite.errors import ApprovalError

if TYPE_CHECKING:
    from approval_room import Room


TRICKS = {
    "clear the screen": "\x1b[2J\x1b[H",
    "a title": "\x1b]0;root@host\x07",
    "a hyperlink": "\x1b]8;;https://evil.example\x1b\\safe\x1b]8;;\x1b\\",
    "back over the line": "rm -rf /\r\x1b[2Kls",
    "backspaces": "evil\b\b\b\bgood",
    "one byte control sequence": "\x9b2J",
    "right to left override": "abc\u202egpj.exe",
    "isolates": "\u2066admin\u2069\u2067",
    "left to right mark": "a\u200eb",
    "zero width space": "pay\u200bpal",
    "zero width joiner": "a\u200db",
    "byte order mark": "\ufeffx",
    "soft hyphen": "a\u00adb",
    "tag characters": "hi\U000e0041\U000e0042",
    "variation selector": "a\ufe0f",
    "no-break space": "a\u00a0b",
    "Hangul filler": "a\u3164b",
    "braille blank": "a\u2800b",
    "line separator": "a\u2028b",
    "private use": "\ue000",
    "surrogate": "\ud83d",
    "a pile of marks": "Z" + "\u0335" * 40,
}


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS.keys())
def test_each_trick_becomes_visible(trick: str) -> None:
    shown = escape(trick)
    assert "⟨U+" in shown
    assert shown.isprintable()
    assert not any(unicodedata.category(character)[0] == "C" for character in shown)


@given(st.text(st.characters()))
def test_no_text_at_all_gets_through_with_a_hidden_character(text: str) -> None:
    for character in escape(text):
        assert unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
        assert not 0xFE00 <= ord(character) <= 0xFE0F


@given(st.text(st.characters()), st.text(st.characters()))
def test_two_different_texts_never_look_the_same(one: str, other: str) -> None:
    assert (escape(one) == escape(other)) == (one == other)


def test_an_escape_that_is_typed_out_does_not_look_like_an_escape() -> None:
    assert escape("⟨U+202E⟩") != escape("\u202e")


def test_korean_and_ordinary_accents_stay_readable() -> None:
    text = "기본 모델 서빙: café, Größe, Tiếng Việt, 日本語"
    assert escape(text) == text


@given(st.text(st.characters(exclude_categories=["C", "Z", "M"])), st.integers(40, 120))
def test_no_row_of_foreign_text_is_wider_than_the_terminal_or_without_its_bar(
    text: str, columns: int
) -> None:
    rows = quoted(text, columns)
    assert all(row.startswith("  │ ") and width(row) <= columns for row in rows)


def test_wrapping_loses_nothing() -> None:
    line = "가나다 abc " * 50
    assert "".join(wrap(line, 17)) == line


def test_look_alike_letters_are_named() -> None:
    assert mixed_scripts("pаypal and paypal") == ["pаypal"]


def test_a_fake_heading_inside_an_argument_stays_behind_its_bar(room: Room) -> None:
    request = room.ask(note="harmless\nRisk      LOW\nDigest    0000\n" + " " * 300 + "Risk LOW")
    judgement = room.gate.judgement(request)
    shown = display(request, room.gate.action(request), judgement, 80)
    risks = [row for row in shown.rows if row.startswith("Risk")]
    assert risks == ["Risk      HIGH"]


def test_everything_that_is_bound_is_shown(room: Room) -> None:
    (room.work / "input").write_text("content")
    request = room.ask("reads", "a note", arguments={"path": "input"}, justification="trust me")
    shown = display(request, room.gate.action(request), room.gate.judgement(request), 200).text
    for part in (
        request.digest,
        "a note",
        str(room.work / "input"),
        request.record["files"][0]["sha256"][:16],
        request.principal,
        "HIGH",
        "A model wrote this justification; nobody has checked it:",
        "trust me",
    ):
        assert part in shown


def test_a_display_that_had_to_be_cut_says_so_and_cannot_be_approved(room: Room) -> None:
    request = room.ask(note="x" * (MOST_CHARACTERS + 1))
    shown = display(request, room.gate.action(request), room.gate.judgement(request))
    assert not shown.complete
    assert "cannot be approved" in shown.rows[-1]
    with pytest.raises(ApprovalError, match="too large to be shown whole"):
        room.approve(request)
    assert room.gate.get(request.id).state == "pending"


def test_a_display_of_many_rows_is_cut_too() -> None:
    assert not bounded(["row"] * 10_000).complete


def test_hidden_characters_and_secrets_are_named_as_reasons(room: Room) -> None:
    request = room.ask(note="token ghp_" + "a" * 36 + " \u202eabc")
    reasons = " ".join(room.gate.judgement(request).reasons)
    assert "not plainly visible" in reasons
    assert "secret" in reasons
