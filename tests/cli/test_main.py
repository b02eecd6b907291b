"""Every end of a command: one message, one exit code, also for what nobody expected."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import click
import pytest

from local_ai_suite.cli import main as door
from local_ai_suite.cli import up
from local_ai_suite.paths import Paths


@pytest.fixture
def project(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setenv("LAIS_PROJECT", str(paths.project))
    monkeypatch.setenv("LAIS_STATE", str(paths.state))
    monkeypatch.setenv("RUNTIME", "native")
    return paths


def ends_with(monkeypatch: pytest.MonkeyPatch, trouble: BaseException) -> None:
    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def command(as_json: bool) -> None:
        raise trouble

    monkeypatch.setattr(door.Verbs, "get_command", lambda *_: command)


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        door.main(list(words))
    code = caught.value.code
    assert isinstance(code, int)
    return code


def test_what_nobody_expected_is_one_line_and_a_log_file(
    project: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_with(monkeypatch, KeyError("surprise"))
    assert run("status") == 70
    said = capsys.readouterr().err
    assert "surprise" in said
    assert "Traceback" not in said
    [file] = project.logs.glob("defect-*.log")
    assert str(file) in said
    assert "Traceback" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "make room"),
        (OSError(errno.EROFS, "Read-only file system", "/p/.state"), "/p/.state"),
        (PermissionError(errno.EACCES, "Permission denied", "/p/.state/lock"), "another user"),
    ],
)
def test_a_disk_that_refuses_is_named_with_the_remedy(
    project: Paths,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    trouble: OSError,
    words: str,
) -> None:
    ends_with(monkeypatch, trouble)
    assert run("up") == 74
    assert words in capsys.readouterr().err
    assert run("up", "--json") == 74
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "disk"
    assert not list(project.logs.glob("defect-*"))


def test_a_refused_connection_is_not_taken_for_a_disk(
    project: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_with(monkeypatch, PermissionError(errno.EACCES, "Permission denied"))
    assert run("up") == 70
    assert "another user" not in capsys.readouterr().err


def test_a_defect_is_told_also_where_nothing_can_be_written(
    project: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_with(monkeypatch, ValueError("surprise"))
    project.state.write_text("a file where the folder should be")
    assert run("status") == 70
    assert "surprise" in capsys.readouterr().err


def test_wrong_words_are_json_when_json_was_asked_for(
    project: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("status", "--nonsense", "--json") == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["error"]["code"] == "usage"
    assert "--nonsense" in answer["error"]["message"]


def test_restart_stops_nothing_when_it_could_not_start_again(
    project: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = []
    monkeypatch.setattr(up.runtime, "down", lambda *_: stopped.append(True))
    monkeypatch.setenv("CHAT_MODEL", "not-there.gguf")
    assert run("restart") != 0
    assert "not-there.gguf" in capsys.readouterr().err
    assert stopped == []


def test_no_lines_of_the_logs_are_no_lines(
    project: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    project.ensure_state()
    (project.logs / "inference.log").write_text("a\nb\n")
    assert run("logs", "-n", "0", "--json") == 0
    assert json.loads(capsys.readouterr().out)["data"]["lines"] == []
    assert run("logs", "-n", "-1") == 2


def test_a_log_that_another_command_removes_meanwhile_is_no_crash(tmp_path: Path) -> None:
    from local_ai_suite.log import log_to_file

    (tmp_path / "up-1.log").symlink_to(tmp_path / "gone")
    assert log_to_file(tmp_path, "up").exists()
