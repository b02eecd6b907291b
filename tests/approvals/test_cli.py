"""`lais approvals`: text, JSON and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local_ai_suite.approvals import open_gate
from local_ai_suite.approvals.places import find_places
from local_ai_suite.cli.main import main
from local_ai_suite.paths import find_paths

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.setenv("LAIS_PROJECT", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "LAIS_STATE"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def lais(project: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["approvals", *words])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def ask(project: Path, content: str = "x\n") -> str:
    with open_gate(find_paths()) as gate:
        arguments = {"path": "a.txt", "content": content, "old_sha256": "absent"}
        return gate.request("write_file", arguments, component="t", cwd=project).id


def answer(out: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(out)["data"]
    return data


@pytest.mark.parametrize("words", [(), ("list",)], ids=["approvals", "approvals list"])
def test_an_empty_queue_says_so(
    lais: Callable[..., tuple[int, str, str]], words: tuple[str, ...]
) -> None:
    code, out, _ = lais(*words)
    assert (code, out) == (0, "nothing waits for a decision\n")


def test_the_queue_and_the_key_lie_outside_the_project(
    lais: Callable[..., tuple[int, str, str]], project: Path
) -> None:
    ask(project)
    places = find_places(find_paths())
    for path in (places.database, places.key, places.audit, places.head):
        assert path.exists()
        assert not path.is_relative_to(project)
    assert places.head.parent != places.audit.parent
    assert list(project.iterdir()) == []


def test_a_relative_xdg_folder_does_not_bring_the_queue_into_the_working_directory(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    monkeypatch.setenv("XDG_CONFIG_HOME", ".")
    ask(project)
    assert list(project.iterdir()) == []


def test_list_show_reject_and_audit_tell_one_story(
    lais: Callable[..., tuple[int, str, str]], project: Path
) -> None:
    identity = ask(project)
    _, out, _ = lais("list", "--json")
    (request,) = answer(out)["requests"]
    _, alone, _ = lais("--json")
    assert [one["id"] for one in answer(alone)["requests"]] == [identity]
    assert request["id"] == identity
    assert request["state"] == "pending"
    assert 0 < request["seconds_left"] <= 600
    code, out, _ = lais("show", identity[:5])
    assert code == 0
    assert "Write the file a.txt" in out
    code, out, _ = lais("reject", identity, "--reason", "not today")
    assert code == 0
    _, out, _ = lais("show", identity, "--json")
    assert answer(out)["reason"] == "not today"
    code, out, err = lais("reject", identity, "--reason", "again")
    assert code == 8
    assert "rejected" in err
    _, out, _ = lais("audit", "--json")
    assert [event["event"] for event in answer(out)["events"]] == ["requested", "rejected"]
    code, out, _ = lais("audit", "verify", "--json")
    assert code == 0
    assert answer(out)["whole"] is True


def test_a_home_that_cannot_be_written_is_told(
    lais: Callable[..., tuple[int, str, str]], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = project.parent / "a-file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(blocked))
    code, _, err = lais("list")
    assert code == 8
    assert "folders cannot be used" in err


def test_a_log_that_is_not_whole_ends_with_one(
    lais: Callable[..., tuple[int, str, str]], project: Path
) -> None:
    ask(project)
    audit = find_places(find_paths()).audit
    audit.write_bytes(audit.read_bytes().replace(b"write_file", b"read_file "))
    code, out, _ = lais("audit", "verify")
    assert code == 1
    assert "NOT WHOLE" in out


def test_the_policy_is_shown_and_a_wrong_one_is_an_error(
    lais: Callable[..., tuple[int, str, str]], project: Path
) -> None:
    ask(project)
    policy = find_places(find_paths()).policy
    policy.write_text('[[rule]]\naction = "comment"\ndecision = "deny"\nreason = "quiet"\n')
    policy.chmod(0o600)
    code, out, _ = lais("policy")
    assert code == 0
    assert "comment: deny quiet" in out
    policy.write_text('[[rule]]\naction = "comment"\ndecision = "allow"\n')
    code, _, err = lais("policy")
    assert code == 3
    assert "decision is 'allow'" in err


def test_the_policy_file_in_the_documentation_is_a_right_one(
    lais: Callable[..., tuple[int, str, str]], project: Path
) -> None:
    text = (PROJECT / "docs" / "guides" / "approvals.md").read_text(encoding="utf-8")
    example = text.split("```toml\n")[1].split("```")[0]
    ask(project)
    policy = find_places(find_paths()).policy
    policy.write_text(example)
    policy.chmod(0o600)
    assert lais("policy")[0] == 0


def test_every_command_and_exit_code_is_documented() -> None:
    text = (PROJECT / "docs" / "guides" / "approvals.md").read_text(encoding="utf-8")
    for name in ("list", "show", "approve", "reject", "watch", "audit", "audit verify", "policy"):
        assert f"`lais approvals {name}" in text, name


def test_the_script_is_the_same_as_the_command(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(PROJECT / "scripts" / "approval_cli.py"), "list", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["command"] == "approvals list"
