"""Where a plan lies: a name for every title, and no word of a person's is overwritten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local_ai_suite.issues.documents import Documents, documents_for, name_of
from local_ai_suite.issues.issue import Issue, from_text, tick

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from plan_desk import Desk, FakeServer

    MakeDesk = Callable[[int], Desk]
    Saying = Callable[[str], FakeServer]


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Serve a model, fast!", "serve-a-model-fast"),
        ("빠른 응답", "빠른-응답"),
        ("モデルを速く動かす", "モデルを速く動かす"),
        ("让模型更快", "让模型更快"),
        ("Сделать модель быстрее", "сделать-модель-быстрее"),
        ("मॉडल तेज़ करो", "मॉडल-तेज़-करो"),
        ("تسريع النموذج", "تسريع-النموذج"),
        ("Cafe\u0301 ❤️ au lait", "café-au-lait"),
        ("❤️ \u202e \u200b", ""),
        ("../../etc/passwd", "etc-passwd"),
        ("x" * 300, "x" * 60),
        ("모" * 300, "모" * 60),
    ],
)
def test_a_title_of_any_script_gives_a_name(title: str, name: str) -> None:
    assert name_of(title) == name
    assert name_of(name) == name
    assert len(name.encode()) <= 180


def test_titles_without_a_letter_and_titles_like_a_number_have_names_of_their_own(
    tmp_path: Path,
) -> None:
    titles = ["🎉", "🎉🎉", "Issue 12", "???"]
    names = {documents_for(tmp_path, Issue(title, "")).name for title in titles}
    assert len(names) == 4
    assert "issue-12" not in names
    assert documents_for(tmp_path, Issue("Issue 12", "", number=12)).name == "issue-12"


def test_another_issue_of_the_same_words_gets_another_name(desk: MakeDesk, saying: Saying) -> None:
    room = desk(saying("Good.").port)
    for title in ("Serve: models", "Serve models!", "Serve: models"):
        (room.repository / "issue.md").write_text(f"# {title}\nFast.\n")
        assert room.plan("--file", "issue.md").code == 0
    plans = sorted(path.name for path in (room.repository / "plans").glob("*.md"))
    assert len(plans) == 2
    assert plans[1] == "serve-models.md"
    name = plans[0].removesuffix(".md")
    assert "Serve models!" in room.plan("show", name).out


def test_what_a_person_edited_is_kept_and_told(desk: MakeDesk, saying: Saying) -> None:
    room = desk(saying("Good.").port)
    assert room.plan("1").code == 0
    plans = room.repository / "plans"
    unchanged = (plans / "issue-1.md").read_text()
    assert room.plan("1", "--fresh").code == 0
    assert sorted(path.name for path in plans.iterdir()) == ["issue-1.json", "issue-1.md"]
    for count, words in enumerate(("Mine.\n", "Mine again.\n"), 1):
        (plans / "issue-1.md").write_text(unchanged + words)
        done = room.plan("1", "--fresh")
        assert done.code == 0
        kept = plans / ("issue-1.edited.md" if count == 1 else "issue-1.edited-2.md")
        assert str(kept) in done.err
        assert kept.read_text() == unchanged + words
        assert (plans / "issue-1.md").read_text() == unchanged


def test_a_markdown_without_its_plan_is_kept_too(desk: MakeDesk, saying: Saying) -> None:
    room = desk(saying("Good.").port)
    plans = room.repository / "plans"
    plans.mkdir()
    (plans / "issue-1.md").write_text("all mine\n")
    (plans / "issue-1.json").write_text('{"facts": 3}')
    assert room.plan("1").code == 0
    assert (plans / "issue-1.edited.md").read_text() == "all mine\n"


def test_no_link_in_the_repository_leads_a_plan_elsewhere(
    desk: MakeDesk, saying: Saying, tmp_path: Path
) -> None:
    room = desk(saying("Good.").port)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("a secret\n")
    (room.repository / "plans").symlink_to(outside)
    done = room.plan("1")
    assert done.code == 2
    assert "is a link" in done.err
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    (room.repository / "plans").unlink()
    assert room.plan("1").code == 0
    place = room.repository / "plans" / "issue-1.md"
    place.unlink()
    place.symlink_to(outside / "secret")
    assert "a secret" not in room.plan("show", "1").out
    assert room.plan("1", "--fresh").code == 0
    assert (outside / "secret").read_text() == "a secret\n"
    assert not place.is_symlink()


def test_a_full_disk_leaves_the_old_plan_and_no_litter(tmp_path: Path) -> None:
    import resource

    documents = Documents(tmp_path / "plans", "x")
    documents.keep_state({"a": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            documents.keep_state({"a": "b" * 100})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert documents.read_state() == {"a": 1}
    assert [path.name for path in (tmp_path / "plans").iterdir()] == ["x.state.json"]


BODY = """\
- [ ] one
  - [x] two [ ] still two

```
- [ ] in a fence
```

~~~md
- [ ] in another
~~~

<!--
- [ ] in a comment
-->

text

    - [ ] indented code

> - [ ] quoted
1. [ ] ordered
* [ ]no space
- `[ ] code`
"""


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_boxes_are_those_that_markdown_shows(ends: str) -> None:
    body = BODY.replace("\n", ends)
    issue = Issue("t", body)
    assert issue.checklist == [
        (False, "one"),
        (True, "two [ ] still two"),
        (False, "quoted"),
        (False, "ordered"),
    ]
    ticked = tick(body, {1, 3, 4})
    for item in ("- [ ] one", "> - [ ] quoted", "1. [ ] ordered"):
        body = body.replace(item, item.replace("[ ]", "[x]"))
    assert ticked == body


def test_a_fence_that_is_never_closed_holds_all_that_follows() -> None:
    assert from_text("t\n\n- [ ] one\n\n````\n- [ ] two\n```\n- [ ] three").checklist == [
        (False, "one")
    ]
