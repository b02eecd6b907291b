"""The picture of the terminal: what stays on a screen, and nothing from another host."""

from __future__ import annotations

import html
import re

import pytest
from test_pages import DOCS

import terminal_picture

PICTURE = DOCS / "start" / "up.svg"


@pytest.mark.parametrize(
    ("written", "stays"),
    [
        ("one\r\ntwo\r\n", ["one", "two"]),
        ("loading 1 %\rloading 2 %\r\ndone\r\n", ["loading 2 %", "done"]),
        ("⠋ loading\r\n\x1b[1A\x1b[2Kup\r\n", ["up"]),
        ("\x1b[32mgreen\x1b[0m text\r\n", ["\x1b[32mgreen\x1b[0m text"]),
        ("\x1b[?25lhidden cursor\x1b[?25h\r\n", ["hidden cursor"]),
        ("a line\r\n\r\nafter an empty one", ["a line", "", "after an empty one"]),
    ],
)
def test_what_was_written_over_is_gone(written: str, stays: list[str]) -> None:
    assert terminal_picture.lines(written) == stays


def test_a_picture_is_of_commands_that_were_run() -> None:
    made = terminal_picture.picture(["echo really"])
    assert "$&#160;" in made
    assert ">really<" in made


def test_a_command_that_fails_makes_no_picture() -> None:
    with pytest.raises(SystemExit, match="ended with 3"):
        terminal_picture.picture(["sh -c 'exit 3'"])


def test_the_picture_of_the_readme_shows_up_and_loads_nothing() -> None:
    svg = PICTURE.read_text(encoding="utf-8")
    text = html.unescape(svg).replace("\xa0", " ")
    assert "make up-p1" in text
    assert "Local AI Suite is up" in text
    hosts = set(re.findall(r"https?://([^/\"<>)\s]+)", text))
    assert {host for host in hosts if not host.startswith("localhost")} <= {
        "www.w3.org",
        "www.textualize.io",  # a comment: who made it
    }
    assert "@font-face" not in svg
    assert "<image" not in svg
