"""Every end of a command: one message, one exit code, also for what nobody expected."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from local_ai_suite.cli import main as door
from local_ai_suite.cli import up
from local_ai_suite.cli.up import up_text
from local_ai_suite.demo import write_scripted_gguf
from local_ai_suite.paths import Paths
from local_ai_suite.stack.runtime import UpOutcome
from local_ai_suite.stack.status import StackReport


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


def shell(words: str, project: Paths, **environment: str) -> subprocess.CompletedProcess[str]:
    """``words`` in a shell, where ``$LAIS`` is the real program."""
    return subprocess.run(
        ["sh", "-c", words],
        env=os.environ | {"LAIS": f"{sys.executable} -m local_ai_suite"} | environment,
        cwd=project.project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=60,
        check=False,
        # Python makes a KeyboardInterrupt of SIGINT only where nobody has turned it off.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("imported", ["orjson", "psutil"])
def test_ctrl_c_while_python_imports_is_no_traceback(
    project: Paths, tmp_path: Path, imported: str
) -> None:
    """``orjson`` is imported by the door itself, ``psutil`` by the verb."""
    (tmp_path / f"{imported}.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(20)\n"
    )
    done = shell("exec $LAIS status", project, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_standard_streams_that_the_caller_closed_are_no_defect(
    project: Paths, free_port: int
) -> None:
    done = shell("exec $LAIS ai hello <&-", project, API_GATEWAY_PORT=str(free_port))
    assert done.returncode == 7, done.stderr
    assert "no server answers" in done.stderr
    done = shell("exec $LAIS settings >&- 2>&-", project)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_whose_name_is_not_utf8_is_listed(project: Paths) -> None:
    path = project.project / "models" / os.fsdecode(b"caf\xe9.gguf")
    write_scripted_gguf(path)
    listed = shell("exec $LAIS models", project, PYTHONIOENCODING="utf-8:strict")
    assert listed.returncode == 0, listed.stderr
    assert "caf\\udce9.gguf" in listed.stdout
    told = shell("exec $LAIS models --json", project, PYTHONIOENCODING="utf-8:strict")
    assert told.returncode == 0, told.stderr
    assert str(path) in {model["file"] for model in json.loads(told.stdout)["data"]["models"]}


def test_words_that_are_not_utf8_are_json_when_json_was_asked_for(
    project: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("\udcff", "--json") == 2
    assert json.loads(capsys.readouterr().out)["command"] == "\udcff"


def test_a_slip_of_the_finger_is_told_the_verb_that_was_meant(
    project: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("staus") == 2
    assert "Did you mean 'status'?" in capsys.readouterr().err
    assert run("xyzzy") == 2
    assert "No such command 'xyzzy'" in capsys.readouterr().err


def test_a_digit_that_is_no_number_is_wrong_words(
    project: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("plan", "²") == 2
    assert "'²' is not an issue's number" in capsys.readouterr().err


@pytest.mark.parametrize(("port", "said"), [(8000, False), (18000, True)])
def test_up_with_the_demo_model_says_the_port_that_it_really_has(port: int, said: bool) -> None:
    """The model has learnt the usual port, and says that one when it is asked."""
    address = f"http://localhost:{port}/v1"
    model = {"id": "local-chat", "meta": {"is_demo": True, "status": "ready"}}
    stack = StackReport("native", "p1", address, 1.0, (), (model,))
    text = up_text(UpOutcome(stack, False, 1.0, ()), "models/")
    assert f"Try:  curl {address}/models" in text
    assert (f"here the address is {address}" in text) is said
