"""What a program can read in an issue by itself."""

from __future__ import annotations

import pytest
from spec_issue import ANSWER, BODY, NUMBER, REPOSITORY

from local_ai_suite.errors import UsageError
from local_ai_suite.issues.issue import Issue, from_gh, from_text, tick


@pytest.fixture
def issue() -> Issue:
    return from_gh(ANSWER, NUMBER, REPOSITORY)


def test_the_json_of_gh_becomes_an_issue_with_all_its_facts(issue: Issue) -> None:
    assert issue.labels == ("enhancement", "priority: high")
    assert issue.assignees == ("hyun",)
    assert issue.milestone == "Phase 1"
    assert issue.state == "open"
    assert issue.comments[0].author == "reviewer"
    assert issue.language == "ko"
    assert issue.kind == "feature"
    assert issue.priority == "high"


def test_the_checklist_is_read_with_its_ticks(issue: Issue) -> None:
    assert [ticked for ticked, _ in issue.checklist] == [False, False, False, True, False]
    assert issue.checklist[4][1] == "README 업데이트"


def test_measurable_lines_are_found_as_they_stand(issue: Issue) -> None:
    assert "채팅 응답 첫 토큰 3초 이내" in issue.measured
    assert "GPU 메모리 사용량 8GB 이하" in issue.measured
    assert not any("README" in line for line in issue.measured)


def test_ticking_changes_one_character_and_keeps_the_rest() -> None:
    ticked = tick(BODY, {1, 5})
    assert len(ticked) == len(BODY)
    assert sum(a != b for a, b in zip(ticked, BODY, strict=True)) == 2
    assert "- [x] README 업데이트\r" in ticked
    with pytest.raises(UsageError, match="no number 6"):
        tick(BODY, {6})


@pytest.mark.parametrize(
    ("title", "labels", "kind"),
    [
        ("fix(gateway): stall", (), "bug"),
        ("[Bug] crash", (), "bug"),
        ("Write the docs", ("documentation",), "docs"),
        ("Refactor: the pool", (), "refactoring"),
        ("Something", (), None),
    ],
)
def test_the_kind_is_what_labels_or_title_say_and_otherwise_unknown(
    title: str, labels: tuple[str, ...], kind: str | None
) -> None:
    assert Issue(title, "", labels=labels).kind == kind


def test_a_text_has_its_first_line_as_title() -> None:
    issue = from_text("# Serve models\n\nFast.\n")
    assert (issue.title, issue.body, issue.number) == ("Serve models", "Fast.", None)
    assert issue.language == "en"
    with pytest.raises(UsageError, match="empty"):
        from_text(" \n ")


@pytest.mark.parametrize("answer", [[], {}, {"title": "x", "labels": [1]}, "text", None])
def test_another_json_is_told_apart(answer: object) -> None:
    with pytest.raises(UsageError, match="not the JSON of an issue"):
        from_gh(answer, 1, None)
