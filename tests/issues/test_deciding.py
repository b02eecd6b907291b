"""A plan is approved at a terminal, action by action, or rejected; never by itself."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from plan_desk import Desk, git
from spec_issue import ANSWER, BODY

from screens import Screen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plan_desk import FakeServer

QUESTION = "anything else leaves it waiting"


@pytest.fixture
def planned(desk: Callable[[int], Desk], saying: Callable[[str], FakeServer]) -> Desk:
    room = desk(saying("좋은 계획입니다.").port)
    assert room.plan("1").code == 0
    return room


@pytest.fixture
def screen(planned: Desk) -> Iterator[Callable[..., Screen]]:
    started: list[Screen] = []

    def start(*words: str) -> Screen:
        lais = [sys.executable, "-m", "local_ai_suite", *words]
        started.append(Screen(lais, planned.environ, rows=2_000, folder=planned.repository))
        return started[-1]

    yield start
    for one in started:
        one.kill()


def states(room: Desk) -> dict[str, str]:
    out = room.lais("approvals", "list", "--json")
    return {entry["action"]: entry["state"] for entry in out.data["requests"]}


def test_a_person_approves_comment_and_branch_one_by_one(
    planned: Desk, screen: Callable[..., Screen]
) -> None:
    url = "https://github.com/hysuite/local-ai-suite/issues/1#issuecomment-9"
    planned.gh.tell(view={"out": json.dumps(ANSWER)}, comment={"out": url})
    _, text = planned.written()
    terminal = screen("plan", "approve", "1")
    shown = terminal.wait_for(QUESTION)
    assert "Post a comment on hysuite/local-ai-suite#1" in shown
    assert "이슈 분석 및 작업 계획" in shown
    terminal.type("approve\n")
    shown = terminal.wait_for(QUESTION)
    assert "Create the local branch feature/issue-1-phase-1-openai-api" in shown
    terminal.type("approve\n")
    assert terminal.end() == 0
    assert planned.gh.wrote() == ["comment"]
    call = planned.gh.calls()[-1]
    assert call["argv"] == [
        "issue", "comment", "1", "--repo", "hysuite/local-ai-suite", "--body-file", "-",
    ]  # fmt: skip
    assert call["stdin"] == text
    head = git(planned.repository, "rev-parse", "HEAD")
    assert git(planned.repository, "rev-parse", "feature/issue-1-phase-1-openai-api") == head
    assert states(planned) == {"comment": "done", "create_branch": "done"}


def test_a_no_at_the_terminal_leaves_it_waiting_and_does_nothing(
    planned: Desk, screen: Callable[..., Screen]
) -> None:
    terminal = screen("plan", "approve", "1", "--no-branch")
    terminal.wait_for(QUESTION)
    terminal.type("no\n")
    assert terminal.end() == 1
    assert planned.gh.wrote() == []
    assert states(planned) == {"comment": "pending"}


def test_without_a_terminal_the_actions_wait_for_days(planned: Desk) -> None:
    done = planned.plan("approve", "1")
    assert done.code == 1
    assert "lais approvals approve" in done.out
    assert planned.gh.wrote() == []
    assert states(planned) == {"comment": "pending", "create_branch": "pending"}
    waiting = planned.lais("approvals", "list", "--json").data["requests"]
    assert all(entry["seconds_left"] > 6 * 86_400 for entry in waiting)
    again = planned.plan("approve", "1")
    assert again.code == 1
    assert len(planned.lais("approvals", "list", "--json").data["requests"]) == 2


def test_what_waits_can_be_approved_later_and_an_edited_plan_is_another_request(
    planned: Desk, screen: Callable[..., Screen]
) -> None:
    planned.plan("approve", "1", "--no-branch")
    (waiting,) = planned.lais("approvals", "list", "--json").data["requests"]
    file = planned.repository / "plans" / "issue-1.md"
    before = file.read_text(encoding="utf-8")
    file.write_text(before + "\nedited by a person\n", encoding="utf-8")
    planned.plan("approve", "1", "--no-branch")
    assert len(planned.lais("approvals", "list", "--json").data["requests"]) == 2
    terminal = screen("approvals", "approve", waiting["id"])
    terminal.wait_for(QUESTION)
    terminal.type("approve\n")
    terminal.wait_for("is done")
    assert terminal.end() == 0
    assert planned.gh.calls()[-1]["stdin"] == before  # what was shown, not what the file says now


def test_ticking_and_closing_use_the_issue_as_it_is_now(
    planned: Desk, screen: Callable[..., Screen]
) -> None:
    words = ["--no-comment", "--no-branch", "--tick", "1,5", "--close", "completed"]
    terminal = screen("plan", "approve", "1", *words)
    shown = terminal.wait_for(QUESTION)
    assert "+- [x] `docker/compose.p1.yml` 작성" in shown
    assert "--- " in shown
    terminal.type("approve\n")
    shown = terminal.wait_for(QUESTION)
    assert "Close hysuite/local-ai-suite#1 as completed" in shown
    terminal.type("approve\n")
    assert terminal.end() == 0
    assert planned.gh.wrote() == ["edit", "close"]
    edited = next(call for call in planned.gh.calls() if call["argv"][1] == "edit")["stdin"]
    assert edited.count("[x]") == BODY.count("[x]") + 2


def test_a_rejected_plan_takes_its_requests_with_it_and_stays_rejected(planned: Desk) -> None:
    planned.plan("approve", "1")
    done = planned.plan("reject", "1", "--reason", "too large", "--json")
    assert done.code == 0
    assert len(done.data["rejected"]) == 2
    assert set(states(planned).values()) == {"rejected"}
    assert "[rejected] too large" in planned.plan("show", "1").out
    refused = planned.plan("approve", "1")
    assert refused.code == 2
    assert "too large" in refused.err
    assert planned.gh.wrote() == []


def test_a_rejection_wants_its_reason_and_a_plan(planned: Desk) -> None:
    assert planned.plan("reject", "1").code == 2
    assert planned.plan("reject", "7", "--reason", "x").code == 2
    assert planned.plan("show", "7").code == 2
    assert "lais plan 7" in planned.plan("approve", "7").err


def test_a_plan_over_githubs_limit_is_refused_with_both_numbers(planned: Desk) -> None:
    file = planned.repository / "plans" / "issue-1.md"
    file.write_text("x" * 70_000, encoding="utf-8")
    done = planned.plan("approve", "1")
    assert done.code == 2
    assert "70000" in done.err
    assert "65536" in done.err


@pytest.mark.parametrize("damage", ["{", "[]", '{"facts": 1', ""])
def test_a_broken_plan_file_is_told(planned: Desk, damage: str) -> None:
    (planned.repository / "plans" / "issue-1.json").write_text(damage)
    done = planned.plan("show", "1")
    assert done.code == 2
    assert "cannot be used" in done.err


def test_a_plan_of_a_text_can_only_make_its_branch(planned: Desk) -> None:
    (planned.repository / "idea.md").write_text("# Serve faster\nplease\n")
    assert planned.plan("--file", "idea.md").code == 0
    assert planned.plan("approve", "serve-faster").code == 2
    done = planned.plan("approve", "serve-faster", "--no-comment", "--json")
    assert [entry["action"] for entry in json.loads(done.out)["data"]["requests"]] == [
        "create_branch"
    ]


def test_an_audit_tells_the_whole_story(planned: Desk, screen: Callable[..., Screen]) -> None:
    terminal = screen("plan", "approve", "1", "--no-comment")
    terminal.wait_for(QUESTION)
    terminal.type("approve\n")
    assert terminal.end() == 0
    events = planned.lais("approvals", "audit", "--json").data["events"]
    assert [event["event"] for event in events] == ["requested", "approved", "executing", "done"]
    assert events[1]["by"].split("@")[1].startswith("/dev/")
    assert planned.lais("approvals", "audit", "verify").code == 0
