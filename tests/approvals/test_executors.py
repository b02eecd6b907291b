"""The real actions: a real git repository, and a stand-in `gh` at the process boundary."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local_ai_suite.errors import ApprovalError

if TYPE_CHECKING:
    from approval_room import Room

GH = """#!{python}
import json, os, sys
stdin = sys.stdin.read()
with open({log!r}, "a") as log:
    log.write(json.dumps({{"argv": sys.argv[1:], "stdin": stdin, "cwd": os.getcwd(),
                           "env": dict(os.environ)}}) + "\\n")
answers = json.load(open({answers!r}))
answer = answers.get(" ".join(sys.argv[1:3]), {{}})
sys.stdout.write(answer.get("out", ""))
sys.stderr.write(answer.get("err", ""))
sys.exit(answer.get("rc", 0))
"""


class Gh:
    """A program named gh that writes down how it was called and answers what it was told."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.log = folder / "gh.log"
        self.answers = folder / "gh.json"
        self.tell({})
        self.program = self.bin / "gh"
        self.program.write_text(
            GH.format(python=sys.executable, log=str(self.log), answers=str(self.answers))
        )
        self.program.chmod(0o755)

    def tell(self, answers: dict[str, Any]) -> None:
        self.answers.write_text(json.dumps(answers))

    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def gh(tmp_path: Path, room: Room, monkeypatch: pytest.MonkeyPatch) -> Gh:
    made = Gh(tmp_path)
    monkeypatch.setenv("PATH", f"{made.bin}:{os.environ['PATH']}")
    monkeypatch.setenv("GH_TOKEN", "ghp_" + "t" * 36)
    monkeypatch.setenv("SOME_OTHER_SECRET", "not for gh")
    room.open()
    return made


def run(room: Room, action: str, arguments: dict[str, Any]) -> Any:
    request = room.gate.request(action, arguments, component="test", cwd=room.work)
    room.approve(request)
    return room.gate.execute(request.id)


def git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout.strip()


@pytest.fixture
def repository(room: Room) -> Path:
    git(room.work, "init", "-q", "-b", "main")
    (room.work / "file").write_text("content\n")
    git(room.work, "add", "file")
    git(room.work, "commit", "-q", "-m", "first")
    return room.work


def test_a_comment_goes_to_gh_through_stdin_and_with_few_variables(room: Room, gh: Gh) -> None:
    url = "https://github.example/o/r/issues/3#c1"
    gh.tell({"issue comment": {"out": url + "\n"}})
    body = "-- @everyone `rm -rf /` $(id)\n한국어"
    done = run(room, "comment", {"repository": "o/r", "issue": 3, "body": body})
    assert done.state == "done"
    assert done.progress["outcome"] == {"url": url}
    (call,) = gh.calls()
    assert call["argv"] == ["issue", "comment", "3", "--repo", "o/r", "--body-file", "-"]
    assert call["stdin"] == body
    assert call["env"]["GH_TOKEN"].startswith("ghp_")
    assert "SOME_OTHER_SECRET" not in call["env"]
    assert not Path(call["cwd"]).is_relative_to(room.work)


def test_the_token_is_in_no_file_of_the_queue(room: Room, gh: Gh) -> None:
    run(room, "comment", {"repository": "o/r", "issue": 3, "body": "x"})
    room.gate.close()
    for file in room.places.folder.rglob("*"):
        if file.is_file():
            assert b"ghp_ttt" not in file.read_bytes(), file


def test_what_gh_refuses_is_a_failure_that_is_told_without_the_token(room: Room, gh: Gh) -> None:
    gh.tell({"issue comment": {"rc": 4, "err": f"HTTP 401 bad token ghp_{'t' * 36}\n"}})
    done = run(room, "comment", {"repository": "o/r", "issue": 3, "body": "x"})
    assert done.state == "failed"
    assert "HTTP 401" in done.progress["outcome"]["error"]
    assert "ghp_" not in done.progress["outcome"]["error"]


def test_another_gh_than_the_one_that_was_bound_does_not_run(room: Room, gh: Gh) -> None:
    request = room.gate.request(
        "comment", {"repository": "o/r", "issue": 3, "body": "x"}, component="t", cwd=room.work
    )
    room.approve(request)
    gh.program.write_text(gh.program.read_text() + "# changed\n")
    with pytest.raises(ApprovalError, match="gh is not what it was"):
        room.gate.execute(request.id)
    assert not gh.log.exists()


def test_a_gh_that_is_killed_in_the_middle_ends_as_unknown(room: Room, gh: Gh) -> None:
    gh.program.write_text("#!/bin/sh\nkill -9 $$\n")
    done = run(room, "comment", {"repository": "o/r", "issue": 3, "body": "x"})
    assert done.state == "unknown"


def test_without_gh_it_is_told_when_asking(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ApprovalError, match="gh is not installed"):
        room.gate.request(
            "comment", {"repository": "o/r", "issue": 3, "body": "x"}, component="t", cwd=room.work
        )


def test_a_checklist_is_ticked_only_on_the_text_that_was_seen(room: Room, gh: Gh) -> None:
    arguments = {
        "repository": "o/r",
        "issue": 3,
        "old_body": "- [ ] one\r\n- [ ] two",
        "new_body": "- [x] one\r\n- [ ] two",
    }
    gh.tell({"issue view": {"out": json.dumps({"body": "- [ ] one\n- [ ] two"})}})
    assert run(room, "tick_checklist", arguments).state == "done"
    assert gh.calls()[1]["stdin"] == arguments["new_body"]
    gh.tell({"issue view": {"out": json.dumps({"body": "somebody wrote something else"})}})
    done = run(room, "tick_checklist", arguments)
    assert done.state == "failed"
    assert "changed since" in done.progress["outcome"]["error"]
    assert len(gh.calls()) == 3


def test_closing_names_its_reason(room: Room, gh: Gh) -> None:
    arguments = {"repository": "o/r", "issue": 3, "reason": "not planned"}
    assert run(room, "close_issue", arguments).state == "done"
    assert gh.calls()[0]["argv"][-2:] == ["--reason", "not planned"]


def test_a_branch_is_made_at_its_commit_and_nothing_is_checked_out(
    room: Room, repository: Path
) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    done = run(room, "create_branch", {"branch": "feature/plan-3", "commit": commit})
    assert done.state == "done", done.progress
    assert git(repository, "rev-parse", "feature/plan-3") == commit
    assert git(repository, "branch", "--show-current") == "main"


def test_an_existing_branch_is_not_moved(room: Room, repository: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    git(repository, "branch", "feature/x")
    git(repository, "commit", "-q", "--allow-empty", "-m", "second")
    second = git(repository, "rev-parse", "HEAD")
    assert run(room, "create_branch", {"branch": "feature/x", "commit": second}).state == "failed"
    assert git(repository, "rev-parse", "feature/x") == first


def test_no_hook_of_the_repository_runs(room: Room, repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    caught = room.folder / "caught"
    hooks = room.folder / "hooks"
    hooks.mkdir()
    for folder in (repository / ".git" / "hooks", hooks):
        for name in ("reference-transaction", "post-checkout", "update", "post-update"):
            (folder / name).write_text(f"#!/bin/sh\ntouch {caught}\n")
            (folder / name).chmod(0o755)
    git(repository, "config", "core.fsmonitor", f"touch {caught}")
    git(repository, "config", "core.hooksPath", str(hooks))
    git(repository, "config", "core.pager", f"touch {caught}")
    assert run(room, "create_branch", {"branch": "feature/h", "commit": commit}).state == "done"
    assert not caught.exists()


@pytest.mark.parametrize(
    "name",
    ["-x", "a..b", "a b", "a.lock", "/a", "a/", "a//b", "한글", "a\n", "@{-1}", "HEAD~1", ""],
)
def test_a_name_that_git_does_not_take_for_a_branch_is_refused(room: Room, name: str) -> None:
    with pytest.raises(ApprovalError, match="branch"):
        run(room, "create_branch", {"branch": name, "commit": "a" * 40})


def test_a_file_is_written_in_one_step_and_keeps_its_mode(room: Room) -> None:
    script = room.work / "run.sh"
    script.write_text("old\n")
    script.chmod(0o755)
    import hashlib

    old = hashlib.sha256(b"old\n").hexdigest()
    arguments = {"path": "run.sh", "content": "new\n", "old_sha256": old}
    assert run(room, "write_file", arguments).state == "done"
    assert script.read_text() == "new\n"
    assert script.stat().st_mode & 0o777 == 0o755
    arguments = {"path": "made/for/it.txt", "content": "한\n", "old_sha256": "absent"}
    assert run(room, "write_file", arguments).state == "done"
    assert (room.work / "made" / "for" / "it.txt").read_text() == "한\n"


def test_a_file_is_not_written_through_a_link(room: Room) -> None:
    outside = room.folder / "outside"
    outside.mkdir()
    (room.work / "link").symlink_to(outside)
    done = run(room, "write_file", {"path": "link/x", "content": "x", "old_sha256": "absent"})
    assert done.state == "failed"
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", ".git/hooks/x", "a//b", ".", "a/"])
def test_a_path_that_leaves_the_folder_or_enters_git_is_refused(room: Room, path: str) -> None:
    with pytest.raises(ApprovalError, match="path"):
        run(room, "write_file", {"path": path, "content": "x", "old_sha256": "absent"})


def test_what_a_file_write_changes_is_shown_as_a_diff(room: Room) -> None:
    from local_ai_suite.approvals.show import display

    (room.work / "notes").write_text("one\ntwo\n")
    request = room.gate.request(
        "write_file",
        {"path": "notes", "content": "one\n2\n", "old_sha256": "absent"},
        component="test",
        cwd=room.work,
    )
    shown = display(request, room.gate.action(request), room.gate.judgement(request)).text
    assert "│ -two" in shown
    assert "│ +2" in shown
