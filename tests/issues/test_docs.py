"""docs/guides/plan.md says what the command does, and nothing that it doesn't."""

from __future__ import annotations

import re
from pathlib import Path

from local_ai_suite.cli.issues import command
from local_ai_suite.issues.estimate import BUFFER, HOURS, HOURS_PER_DAY
from local_ai_suite.issues.planner import ANSWER_TOKENS
from local_ai_suite.repository.gh import SHOW_FIELDS

TEXT = (Path(__file__).parents[2] / "docs" / "guides" / "plan.md").read_text(encoding="utf-8")


def test_every_option_is_documented_and_no_other() -> None:
    real = {
        name
        for option in command.params
        for name in [*option.opts, *option.secondary_opts]
        if name.startswith("--")
    }
    table = TEXT.split("| option |")[1].split("**Exit codes.**")[0]
    named = set(re.findall(r"`(--[\w-]+)`", table))
    assert named <= real
    # --comment and --branch are the default; their other halves are what one types.
    assert real - named == {"--comment", "--branch"}


def test_the_numbers_are_the_programs() -> None:
    words = " ".join(TEXT.split())
    assert f"S, M or L ({HOURS['S']}, {HOURS['M']}, {HOURS['L']} hours)" in words
    assert f"a day has {HOURS_PER_DAY}" in words
    shares = [round(share * 100) for share in BUFFER.values()]
    assert f"{shares[0]}, {shares[1]} or {shares[2]} %" in words
    assert f"{ANSWER_TOKENS:,} of them" in words
    assert SHOW_FIELDS in words
