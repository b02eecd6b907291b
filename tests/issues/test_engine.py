"""From the specification's own issue to a plan, with the real engine and its grammar."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from spec_issue import FILES

from local_ai_suite.issues.labels import word
from local_ai_suite.issues.render import markdown

if TYPE_CHECKING:
    from collections.abc import Callable

    from plan_desk import Desk

SECTIONS = (
    "analysis", "investigation", "strategy", "phases", "risks", "resources", "quality",
    "communication", "files", "review", "next",
)  # fmt: skip


@pytest.mark.timeout(300)
def test_the_specifications_issue_becomes_a_plan_whose_form_and_facts_hold(
    engine_port: int, desk: Callable[[int], Desk]
) -> None:
    room = desk(engine_port)
    done = room.plan("1")
    assert done.code == 0, done.err
    plan, text = room.written()
    assert done.out.startswith(str(room.repository / "plans" / "issue-1.md"))
    assert text == markdown(plan)
    assert plan["language"] == "ko"

    heads = re.findall(r"^## (?:\d\. )?(.+)$", text, re.MULTILINE)
    assert heads == [word(f"section_{key}", "ko") for key in SECTIONS]
    for fact in ("enhancement", "priority: high", "hyun", "2025-07-30", "Phase 1", "기능", "높음"):
        assert fact in text.replace("\\", "")
    assert plan["facts"]["branch"] == "feature/issue-1-phase-1-openai-api"
    assert plan["facts"]["missing"] == [
        "llama3.1-8b-instruct-q4_k_m.gguf",
        "qwen2.5-coder-7b-q4_k_m.gguf",
        "src/old_server.py",
    ]
    assert "old_server" not in text
    assert plan["sections"]["analysis"]["type"] == "feature"
    assert plan["sections"]["analysis"]["priority"] == "high"
    for area in plan["sections"]["investigation"]["areas"]:
        assert area["path"] in FILES
    for path in re.findall(r"`([\w./-]+\.\w+)`", text):
        made = [entry["path"] for entry in plan["sections"]["files"]["make"]]
        assert path in FILES or path in made
    assert len(plan["sections"]["strategy"]["options"]) == 3
    assert "```gherkin" in text

    shown = [line for line in done.err.splitlines() if "/9" in line]
    assert [line.split(" ")[1] for line in shown] == [f"{number}/9" for number in range(1, 10)]
    assert room.gh.wrote() == []
    assert not list((room.repository / "plans").glob("*.state.json"))
