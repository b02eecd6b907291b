"""Our reading of ``.env`` beside the real Docker Compose, which needs no engine for `config`."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from local_ai_suite.errors import SettingsError
from local_ai_suite.settings.dotenv import parse

PROJECT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(PROJECT / "tools"), str(PROJECT / "tests" / "settings")]

from dotenv_cases import CASES  # noqa: E402

from compose_plugin import find_compose  # noqa: E402
from record_compose_dotenv import ask_compose  # noqa: E402

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

PIECES = [
    "A", "B", "한", "=", ":", "'", '"', "\\", "$", "#", " ", "{", "}", "-", "+", "?", "\n", "\r\n",
    "0", "n", "export ", "\t", "${A:-", "}", "$$", "${B", "x", " #",
]  # fmt: skip
RANDOM_TEXTS = 400  # about 60 ms each


@pytest.fixture(scope="module")
def compose() -> Path:
    return find_compose()


def ours(text: str, environ: dict[str, str]) -> dict[str, str] | None:
    """The merged environment, or ``None`` for a text that is refused."""
    try:
        return {key: entry.value for key, entry in parse(text, environ).items()} | environ
    except SettingsError:
        return None


def test_every_case_is_read_as_this_compose_reads_it(compose: Path) -> None:
    different = [
        name
        for name, text, environ in CASES
        if ask_compose(compose, text, environ).get("values") != ours(text, environ)
    ]
    assert different == []


def test_random_texts_are_read_as_this_compose_reads_them(compose: Path) -> None:
    chance = random.Random(20261123)
    for _ in range(RANDOM_TEXTS):
        text = "".join(chance.choice(PIECES) for _ in range(chance.randint(1, 25)))
        text = chance.choice(["", 'K="', "K='", "K=", "A=1\nK="]) + text + chance.choice(["", "\n"])
        environ = chance.choice([{}, {"A": "env"}, {"B": ""}, {"A": "e", "B": "f"}])
        assert ask_compose(compose, text, environ).get("values") == ours(text, environ), text


def test_the_example_is_read_as_compose_reads_it(compose: Path) -> None:
    text = (PROJECT / ".env.example").read_text(encoding="utf-8")
    assert ask_compose(compose, text, {}).get("values") == ours(text, {})
